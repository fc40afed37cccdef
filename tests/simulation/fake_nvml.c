/* A GPU driver's library without a GPU: loads as libnvidia-ml.so.1 under the unmodified pynvml.
 *
 * Every board draws a closed function of CLOCK_MONOTONIC, so a test knows the exact integral.
 * All knobs are environment variables; lists hold GPU indices ("0,2") or "all".
 *
 *   FAKE_NVML_GPUS            number of boards (1)
 *   FAKE_NVML_T0_NS           origin of the waveform on CLOCK_MONOTONIC (0)
 *   FAKE_NVML_BASE_J          what the counter shows at T0 (1000)
 *   FAKE_NVML_LOW_W           constant power, or the low half of the square wave (100)
 *   FAKE_NVML_HIGH_W          the high half, which comes first (LOW_W: constant)
 *   FAKE_NVML_WAVE_MS         period of the square wave (500)
 *   FAKE_NVML_STEP_W          board k draws k times this on top (0)
 *   FAKE_NVML_REFRESH_MS      the counter and the power change this often only (100)
 *   FAKE_NVML_LATENCY_US      every reading call takes this long (0)
 *   FAKE_NVML_INIT_MS         nvmlInit takes this long (0)
 *   FAKE_NVML_INIT_ERROR      nvmlInit returns this (0)
 *   FAKE_NVML_LIMIT_W         enforced power limit (700)
 *   FAKE_NVML_NO_COUNTER      boards without an energy counter
 *   FAKE_NVML_NO_INSTANT      boards without field 186 (its own return code says so)
 *   FAKE_NVML_NO_PERMISSION   boards that may not be opened
 *   FAKE_NVML_MIG             boards cut into slices
 *   FAKE_NVML_FAIL            boards that fail ...
 *   FAKE_NVML_FAIL_CODE       ... with this return code (15: GPU is lost) ...
 *   FAKE_NVML_FAIL_FROM_S     ... from this moment after T0 on ...
 *   FAKE_NVML_FAIL_UNTIL_S    ... until this one (never)
 *   FAKE_NVML_NAMES           product names, separated by ";" (NVIDIA Simulated GPU)
 */
#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6 };
enum { BOARDS_MAX = 64, POWER_INSTANT = 186, UNSIGNED_INT = 1 };

typedef struct { int index; int slice; } Board;
typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type, status;
    union { double d; uint32_t u; uint64_t ull; } value;
} Field;

static Board boards[BOARDS_MAX], slices[BOARDS_MAX];

static double number(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text && *text ? atof(text) : otherwise;
}

static int listed(const char *name, int index) {
    const char *text = getenv(name);
    if (!text || !*text) return 0;
    if (!strcmp(text, "all")) return 1;
    char *copy = strdup(text), *rest = copy, *item;
    int found = 0;
    while ((item = strsep(&rest, ","))) found |= atoi(item) == index;
    free(copy);
    return found;
}

static void wait_for(double seconds) {
    struct timespec pause = {(time_t)seconds, (long)(fmod(seconds, 1.0) * 1e9)};
    if (seconds > 0) nanosleep(&pause, NULL);
}

static double since_t0_s(void) {
    const char *t0 = getenv("FAKE_NVML_T0_NS");
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - (t0 ? atoll(t0) : 0);
    return ns / 1e9;
}

static int gpus(void) {
    int count = (int)number("FAKE_NVML_GPUS", 1);
    return count < BOARDS_MAX ? count : BOARDS_MAX;
}

static double low_w(int index) {
    return number("FAKE_NVML_LOW_W", 100) + index * number("FAKE_NVML_STEP_W", 0);
}

static double swing_w(void) {
    double low = number("FAKE_NVML_LOW_W", 100);
    return number("FAKE_NVML_HIGH_W", low) - low;
}

/* Energy since T0: the closed form that the tests compare with. */
static double energy_j(int index, double t_s) {
    if (t_s <= 0) return 0;
    double wave = number("FAKE_NVML_WAVE_MS", 500) / 1e3;
    double high_s = floor(t_s / wave) * wave / 2 + fmin(fmod(t_s, wave), wave / 2);
    return low_w(index) * t_s + swing_w() * high_s;
}

static double refreshed_s(void) {
    double refresh = number("FAKE_NVML_REFRESH_MS", 100) / 1e3, t = since_t0_s();
    return refresh > 0 ? floor(t / refresh) * refresh : t;
}

static int failing(const Board *board) {
    double t = since_t0_s();
    if (!listed("FAKE_NVML_FAIL", board->index)) return OK;
    if (t < number("FAKE_NVML_FAIL_FROM_S", 0) || t >= number("FAKE_NVML_FAIL_UNTIL_S", 1e18))
        return OK;
    return (int)number("FAKE_NVML_FAIL_CODE", 15);
}

static int reading(const Board *board) {
    wait_for(number("FAKE_NVML_LATENCY_US", 0) / 1e6);
    return failing(board);
}

static void uuid_of(const Board *board, char *text, size_t size) {
    snprintf(text, size, "%s-%08x-1111-2222-3333-444444444444", board->slice ? "MIG" : "GPU",
             (unsigned)(board->index + 1) * 0x01010000u);
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    wait_for(number("FAKE_NVML_INIT_MS", 0) / 1e3);
    for (int k = 0; k < BOARDS_MAX; k++) {
        boards[k] = (Board){k, 0};
        slices[k] = (Board){k, 1};
    }
    return (int)number("FAKE_NVML_INIT_ERROR", 0);
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) { (void)code; return "simulated error"; }

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    snprintf(text, size, "simulated");
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)gpus(); return OK; }

static int may_open(int index, Board *from, Board **board) {
    if (index < 0 || index >= gpus()) return NOT_FOUND;
    if (listed("FAKE_NVML_NO_PERMISSION", index)) return NO_PERMISSION;
    *board = from + index;
    return failing(*board);
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Board **board) {
    return index < (unsigned)gpus() ? may_open((int)index, boards, board) : INVALID;
}

int nvmlDeviceGetHandleByUUID(const char *uuid, Board **board) {
    for (int k = 0; k < gpus(); k++) {
        for (int slice = 0; slice < 2; slice++) {
            Board *one = slice ? slices + k : boards + k;
            char text[96];
            uuid_of(one, text, sizeof text);
            if (!strcmp(text, uuid)) return may_open(k, slice ? slices : boards, board);
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

int nvmlDeviceGetMigMode(const Board *board, unsigned *current, unsigned *pending) {
    if (!getenv("FAKE_NVML_MIG")) return NOT_SUPPORTED;
    *current = *pending = (unsigned)listed("FAKE_NVML_MIG", board->index);
    return OK;
}

int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(const Board *slice, Board **board) {
    if (!slice->slice) return INVALID;
    *board = boards + slice->index;
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(const Board *board, unsigned long long *mj) {
    int code = reading(board);
    if (code) return code;
    if (listed("FAKE_NVML_NO_COUNTER", board->index)) return NOT_SUPPORTED;
    double total_j = number("FAKE_NVML_BASE_J", 1000) + energy_j(board->index, refreshed_s());
    *mj = (unsigned long long)(total_j * 1e3);
    return OK;
}

static unsigned instant_mw(const Board *board) {
    double t = fmax(refreshed_s(), 0), wave = number("FAKE_NVML_WAVE_MS", 500) / 1e3;
    double high = fmod(t, wave) < wave / 2 ? swing_w() : 0;
    return (unsigned)((low_w(board->index) + high) * 1e3);
}

int nvmlDeviceGetFieldValues(const Board *board, int count, Field *fields) {
    int code = reading(board);
    if (code) return code;
    for (int k = 0; k < count; k++) {
        int known = fields[k].field == POWER_INSTANT;
        fields[k].status = known && !listed("FAKE_NVML_NO_INSTANT", board->index) ? OK
                                                                                  : NOT_SUPPORTED;
        fields[k].type = UNSIGNED_INT;
        fields[k].value.ull = 0;
        if (fields[k].status == OK) fields[k].value.u = instant_mw(board);
    }
    return OK;
}

/* Like Ampere and newer: the mean of the latest second. */
int nvmlDeviceGetPowerUsage(const Board *board, unsigned *mw) {
    int code = reading(board);
    if (code) return code;
    double t = refreshed_s(), from = fmax(t - 1, 0), span = t - from;
    if (span <= 0) {
        *mw = instant_mw(board);
        return OK;
    }
    *mw = (unsigned)((energy_j(board->index, t) - energy_j(board->index, from)) / span * 1e3);
    return OK;
}

int nvmlDeviceGetEnforcedPowerLimit(const Board *board, unsigned *mw) {
    int code = reading(board);
    if (!code) *mw = (unsigned)(number("FAKE_NVML_LIMIT_W", 700) * 1e3);
    return code;
}

int nvmlDeviceGetTemperature(const Board *board, unsigned sensor, unsigned *celsius) {
    (void)sensor;
    int code = reading(board);
    if (!code) *celsius = 40u + (unsigned)board->index;
    return code;
}

int nvmlDeviceGetUtilizationRates(const Board *board, unsigned *gpu_and_memory) {
    int code = reading(board);
    if (!code) gpu_and_memory[0] = 50, gpu_and_memory[1] = 25;
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
