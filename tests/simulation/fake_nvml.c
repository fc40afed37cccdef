/* A GPU driver's library without a GPU: loads as libnvidia-ml.so.1 under the unmodified pynvml.
 *
 * Knobs are environment variables, read at nvmlInit: fake_nvml_board.h has what the boards draw
 * and show, fake_nvml_driver.h how the driver behaves. nvml_twin.py is all of it in Python.
 */
#define _GNU_SOURCE
#include "fake_nvml_driver.h"

static void uuid_of(const Board *board, char *text, size_t size) {
    snprintf(text, size, "%s-%08x-1111-2222-3333-4444444444%02d", board->slice ? "MIG" : "GPU",
             (unsigned)(board->index + 1) * 0x01010000u, board->slice ? 43 + board->slice : 44);
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    read_draw();
    wait_for(number("FAKE_NVML_INIT_MS", 0) / 1e3);
    read_driver();
    for (int k = 0; k < BOARDS_MAX; k++)
        for (int slice = 0; slice <= SLICES_MAX; slice++) handles[k][slice] = (Board){k, slice};
    return (int)number("FAKE_NVML_INIT_ERROR", 0);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "simulated error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "simulated");
    return OK;
}

int nvmlSystemGetCudaDriverVersion(int *version) { *version = 13000; return OK; }

int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)draw.gpus; return OK; }

static int may_open(int index, int slice, Board **board) {
    __atomic_add_fetch(counts, 1, __ATOMIC_RELAXED);
    if (in(driver.no_permission, index)) return NO_PERMISSION;
    *board = &handles[index][slice];
    return failing(*board);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Board **board) {
    return index < (unsigned)draw.gpus ? may_open((int)index, 0, board) : INVALID;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Board **board) {
    for (int k = 0; k < draw.gpus; k++) {
        for (int slice = 0; slice <= slices_of(k); slice++) {
            char text[96];
            uuid_of(&handles[k][slice], text, sizeof text);
            if (!strcmp(text, uuid)) return may_open(k, slice, board);
        }
    }
    return NOT_FOUND;
}

int nvmlDeviceGetUUID(const Board *board, char *text, unsigned size) {
    uuid_of(board, text, size);
    return OK;
}

int nvmlDeviceGetIndex(const Board *board, unsigned *index) {
    *index = (unsigned)board->index;
    return OK;
}

int nvmlDeviceGetName(const Board *board, char *text, unsigned size) {
    const char *names = getenv("FAKE_NVML_NAMES");
    char *copy = strdup(names && *names ? names : "NVIDIA Simulated GPU"), *rest = copy, *item;
    for (int k = 0; (item = strsep(&rest, ";")) && (k == 0 || k <= board->index); k++)
        snprintf(text, size, "%s", item);
    free(copy);
    return OK;
}

static unsigned bus_of(int board) {
    const char *text = getenv("FAKE_NVML_BUSES");
    char *copy = strdup(text ? text : ""), *rest = copy, *item;
    unsigned bus = (unsigned)board + 1;
    for (int k = 0; (item = strsep(&rest, ",")) && k <= board; k++)
        if (k == board && *item) bus = (unsigned)atoi(item);
    free(copy);
    return bus;
}

int nvmlDeviceGetPciInfo_v3(const Board *board, unsigned char *info) {
    unsigned bus = bus_of(board->index);
    uint32_t *ids = (uint32_t *)(void *)(info + 16);  /* busIdLegacy[16], then 5 words */
    memset(info, 0, 16 + 20 + 32);
    ids[1] = bus;
    snprintf((char *)info, 16, "0000:%02X:00.0", bus);
    snprintf((char *)info + 36, 32, "00000000:%02X:00.0", bus);
    return OK;
}

int nvmlDeviceGetMigMode(const Board *board, unsigned *current, unsigned *pending) {
    if (!driver.mig || board->slice) return NOT_SUPPORTED;
    *current = *pending = (unsigned)in(driver.mig, board->index);
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(const Board *board, unsigned *count) {
    *count = in(driver.mig, board->index) && !board->slice ? SLICES_MAX : 0;
    return OK;
}

int nvmlDeviceGetMigDeviceHandleByIndex(const Board *board, unsigned index, Board **slice) {
    if (board->slice) return INVALID;
    if ((int)index >= slices_of(board->index)) return NOT_FOUND;
    return may_open(board->index, (int)index + 1, slice);
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const Board *slice, Board **board) {
    if (!slice->slice) return INVALID;
    *board = &handles[slice->index][0];
    return OK;
}

int nvmlDeviceGetAttributes_v2(const Board *board, uint32_t *attributes) {
    if (!board->slice) return NOT_SUPPORTED;
    uint32_t sevenths = (uint32_t)driver.sevenths[board->slice - 1];
    memset(attributes, 0, 40);
    attributes[0] = 16 * sevenths;                      /* multiprocessors */
    attributes[6] = attributes[7] = sevenths;           /* slices: of the GPU, of compute */
    *(uint64_t *)(void *)(attributes + 8) = 10240ull * sevenths;
    return OK;
}

static int tells_scope(const Board *board, uint32_t scope) {
    int superchip = in(draw.superchip, board->index);
    if (board->slice || scope > SCOPE_MODULE) return 0;
    return scope == SCOPE_MODULE ? superchip : !(superchip && in(driver.no_gpu_scope, board->index));
}

static int counter_mj(const Board *board, int module, unsigned long long *mj) {
    __atomic_add_fetch(counts + 1, 1, __ATOMIC_RELAXED);
    if (board->slice || in(driver.no_counter, board->index)) return NOT_SUPPORTED;
    double shown_j = counted_j(board->index, since_t0_s(), module);
    if (in(driver.reset, board->index) && fault_s() >= driver.reset_at) {
        double reset = driver.fault_t0 + driver.reset_at;
        shown_j = fmax(shown_j - counted_j(board->index, reset, module), 0);
    } else
        shown_j += draw.base_j;
    *mj = (unsigned long long)(glitched(board, shown_j) * 1e3);
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(const Board *board, unsigned long long *mj) {
    int code = reading(board);
    return code ? code : counter_mj(board, in(draw.superchip, board->index), mj);
}

static int field_of(const Board *board, Field *field) {
    int module = field->scope == SCOPE_MODULE;
    unsigned long long mj = 0;
    int code = NOT_SUPPORTED;
    switch (field->field) {
    case ENERGY_FIELD:
        code = counter_mj(board, in(draw.superchip, board->index), &mj);
        break;
    case SCOPED_ENERGY:
        if (!driver.old_driver && tells_scope(board, field->scope))
            code = counter_mj(board, module, &mj);
        break;
    case AVERAGE:
    case INSTANT: {
        int instant = field->field == INSTANT;
        if (!tells_scope(board, field->scope)) return NOT_SUPPORTED;
        if (instant && in(driver.no_instant, board->index)) return NOT_SUPPORTED;
        double watts = instant ? glitched(board, instant_w(board->index, since_t0_s(), module))
                               : average_w(board->index, since_t0_s(), module);
        field->value.u = (uint32_t)(watts * 1e3);
        return OK;
    }
    case DEFAULT_LIMIT:
    case CURRENT_LIMIT:
        field->value.u = (uint32_t)(driver.limit_w * 1e3);
        return board->slice ? NOT_SUPPORTED : OK;
    }
    field->type = UNSIGNED_LONG_LONG;
    field->value.ull = mj;
    return code;
}

int nvmlDeviceGetFieldValues(const Board *board, int count, Field *fields) {
    int code = reading(board);
    if (code) return code;
    for (int k = 0; k < count; k++) {
        fields[k].type = UNSIGNED_INT;
        fields[k].value.ull = 0;
        fields[k].status = (uint32_t)field_of(board, fields + k);
    }
    return OK;
}

/* A call that a slice does not have: whole is OK or the reason why there is no answer. */
static int whole(const Board *board) {
    int code = reading(board);
    return code ? code : board->slice ? NOT_SUPPORTED : OK;
}

int nvmlDeviceGetPowerUsage(const Board *board, unsigned *mw) {
    int code = whole(board);
    if (!code) *mw = (unsigned)(average_w(board->index, since_t0_s(), 0) * 1e3);
    return code;
}

int nvmlDeviceGetEnforcedPowerLimit(const Board *board, unsigned *mw) {
    int code = whole(board);
    if (!code) *mw = (unsigned)(driver.limit_w * 1e3);
    return code;
}

int nvmlDeviceGetPowerManagementLimitConstraints(const Board *board, unsigned *least_mw,
                                                unsigned *most_mw) {
    int code = reading(board);
    if (code) return code;
    *least_mw = (unsigned)(driver.limit_w * 1e3 / 3.5);
    *most_mw = (unsigned)(driver.limit_w * 1e3);
    return OK;
}

int nvmlDeviceGetPowerManagementDefaultLimit(const Board *board, unsigned *mw) {
    return nvmlDeviceGetEnforcedPowerLimit(board, mw);
}

int nvmlDeviceGetArchitecture(const Board *board, unsigned *generation) {
    *generation = 9; /* Hopper */
    return failing(board);
}

int nvmlDeviceGetTemperature(const Board *board, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    int code = whole(board);
    if (!code) *celsius = 40u + (unsigned)board->index;
    return code;
}

int nvmlDeviceGetClockInfo(const Board *board, unsigned clock, unsigned *mhz) {
    if (clock > 3) return INVALID;
    int code = whole(board);
    if (!code) *mhz = (unsigned)driver.sm_mhz;
    return code;
}

int nvmlDeviceGetMaxClockInfo(const Board *board, unsigned clock, unsigned *mhz) {
    return nvmlDeviceGetClockInfo(board, clock, mhz);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(const Board *board, unsigned long long *mask) {
    int code = whole(board);
    if (!code) *mask = (unsigned long long)driver.throttle;
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(const Board *board, unsigned long long *mask) {
    if (driver.old_driver) return NO_FUNCTION;
    return nvmlDeviceGetCurrentClocksThrottleReasons(board, mask);
}

int nvmlDeviceGetUtilizationRates(const Board *board, unsigned *gpu_and_memory) {
    int code = whole(board);
    if (!code) gpu_and_memory[0] = in(driver.idle, board->index) ? 0 : 50, gpu_and_memory[1] = 25;
    return code;
}

int nvmlDeviceGetMemoryInfo(const Board *board, unsigned long long *total_free_used) {
    int code = reading(board);
    if (code) return code;
    total_free_used[0] = 80ull << 30;
    total_free_used[1] = 60ull << 30;
    total_free_used[2] = 20ull << 30;
    return OK;
}
