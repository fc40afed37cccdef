/* What the simulated driver is like: how long it takes, what it refuses and how it fails.
 *
 * The driver
 *   FAKE_NVML_LATENCY_US      every reading call takes this long (0) ...
 *   FAKE_NVML_TAIL_EVERY      ... and each k-th of them (0: none) ...
 *   FAKE_NVML_TAIL_US         ... takes this long (20000)
 *   FAKE_NVML_INIT_MS         nvmlInit takes this long (0)
 *   FAKE_NVML_INIT_ERROR      nvmlInit returns this (0)
 *   FAKE_NVML_CALLS_FILE      file of 2 uint64 that are counted up: all calls, reads of a counter
 *   FAKE_NVML_OLD_DRIVER      1: without field 191 and without the new name of throttle reasons
 *
 * The boards
 *   FAKE_NVML_NAMES           product names, separated by ";" (NVIDIA Simulated GPU)
 *   FAKE_NVML_BUSES           places on the PCI bus, separated by "," (1,2,3 ...)
 *   FAKE_NVML_LIMIT_W         enforced power limit (700)
 *   FAKE_NVML_SM_MHZ          clock (1980)
 *   FAKE_NVML_THROTTLE        mask of throttle reasons (0)
 *   FAKE_NVML_IDLE            boards on which no kernel runs; the others are half busy
 *   FAKE_NVML_NO_COUNTER      boards without an energy counter
 *   FAKE_NVML_NO_INSTANT      boards without field 186 (its own return code says so)
 *   FAKE_NVML_NO_GPU_SCOPE    superchips that tell of the module only
 *   FAKE_NVML_NO_PERMISSION   boards that may not be opened
 *   FAKE_NVML_MIG             boards cut into slices ...
 *   FAKE_NVML_SLICES          ... of this many sevenths each: "3,3,1" (1)
 *
 * The faults, whose moments are seconds after T0, or after nvmlInit with FAKE_NVML_FAULT_CLOCK=init
 *   FAKE_NVML_FAIL            boards that fail ...
 *   FAKE_NVML_FAIL_CODE       ... with this return code (15: GPU is lost) ...
 *   FAKE_NVML_FAIL_FROM_S     ... from this moment on (0) ...
 *   FAKE_NVML_FAIL_UNTIL_S    ... until this one (never)
 *   FAKE_NVML_RESET           boards whose counter starts again at 0 ...
 *   FAKE_NVML_RESET_S         ... at this moment (0)
 *   FAKE_NVML_GLITCH          boards whose counter and instant power are wrong ...
 *   FAKE_NVML_GLITCH_FACTOR   ... by this (0) ...
 *   FAKE_NVML_GLITCH_EVERY    ... at each k-th read (1) ...
 *   FAKE_NVML_GLITCH_FROM_S   ... from this moment on (0) ...
 *   FAKE_NVML_GLITCH_UNTIL_S  ... until this one (never)
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fake_nvml_board.h"

enum { OK = 0, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, NO_FUNCTION = 13 };
enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3, SLICES_MAX = 7 };
enum { ENERGY_FIELD = 83, AVERAGE = 185, INSTANT = 186, DEFAULT_LIMIT = 189, CURRENT_LIMIT = 190,
       SCOPED_ENERGY = 191, SCOPE_GPU = 0, SCOPE_MODULE = 1 };

typedef struct { int index, slice; } Board;  /* slice: 0 the whole board, else its number from 1 */
typedef struct {
    uint32_t field, scope;
    int64_t timestamp_us, latency_us;
    uint32_t type, status;
    union { double d; uint32_t u; uint64_t ull; } value;
} Field;
typedef struct {
    uint64_t idle, no_counter, no_instant, no_gpu_scope, no_permission, mig, fail, reset, glitch;
    double latency_s, tail_s, limit_w, sm_mhz, throttle;
    double fault_t0, fail_from, fail_until, reset_at, glitch_factor, glitch_from, glitch_until;
    int fail_code, tail_every, glitch_every, old_driver, slices, sevenths[SLICES_MAX];
} Driver;

static Board handles[BOARDS_MAX][1 + SLICES_MAX];
static Driver driver;
static uint64_t own_counts[2], *counts = own_counts, glitch_reads[BOARDS_MAX];
static int64_t frozen_ns;

/* For tests: what the clock shows from now on; 0 lets it go. */
void fake_nvml_freeze(int64_t now_ns) { frozen_ns = now_ns; }

static int64_t clock_ns(void) {
    struct timespec now;
    if (frozen_ns) return frozen_ns;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static double since_t0_s(void) { return (double)(clock_ns() - draw.t0_ns) / 1e9; }

/* Short times are spun, because a sleep takes 60 us more than asked. */
static void wait_for(double seconds) {
    struct timespec pause = {(time_t)seconds, (long)(fmod(seconds, 1.0) * 1e9)}, now;
    if (seconds <= 0) return;
    if (seconds > 2e-4) {
        nanosleep(&pause, NULL);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    double end = (double)now.tv_sec + (double)now.tv_nsec / 1e9 + seconds;
    do clock_gettime(CLOCK_MONOTONIC, &now);
    while ((double)now.tv_sec + (double)now.tv_nsec / 1e9 < end);
}

static void read_slices(void) {
    const char *text = getenv("FAKE_NVML_SLICES");
    char *copy = strdup(text && *text ? text : "1"), *rest = copy, *item;
    while (driver.slices < SLICES_MAX && (item = strsep(&rest, ",")))
        driver.sevenths[driver.slices++] = atoi(item);
    free(copy);
}

static void open_counts(void) {
    const char *path = getenv("FAKE_NVML_CALLS_FILE");
    int file = path && *path ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (file < 0) return;
    if (!ftruncate(file, sizeof own_counts)) {
        void *shared = mmap(NULL, sizeof own_counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (shared != MAP_FAILED) counts = shared;
    }
    close(file);
}

static void read_driver(void) {
    const char *fault_clock = getenv("FAKE_NVML_FAULT_CLOCK");
    memset(&driver, 0, sizeof driver);
    driver.latency_s = number("FAKE_NVML_LATENCY_US", 0) / 1e6;
    driver.tail_s = number("FAKE_NVML_TAIL_US", 20000) / 1e6;
    driver.tail_every = (int)number("FAKE_NVML_TAIL_EVERY", 0);
    driver.old_driver = (int)number("FAKE_NVML_OLD_DRIVER", 0);
    driver.limit_w = number("FAKE_NVML_LIMIT_W", 700);
    driver.sm_mhz = number("FAKE_NVML_SM_MHZ", 1980);
    driver.throttle = number("FAKE_NVML_THROTTLE", 0);
    driver.idle = listed("FAKE_NVML_IDLE");
    driver.no_counter = listed("FAKE_NVML_NO_COUNTER");
    driver.no_instant = listed("FAKE_NVML_NO_INSTANT");
    driver.no_gpu_scope = listed("FAKE_NVML_NO_GPU_SCOPE");
    driver.no_permission = listed("FAKE_NVML_NO_PERMISSION");
    driver.mig = listed("FAKE_NVML_MIG");
    driver.fail = listed("FAKE_NVML_FAIL");
    driver.reset = listed("FAKE_NVML_RESET");
    driver.glitch = listed("FAKE_NVML_GLITCH");
    driver.fault_t0 = fault_clock && !strcmp(fault_clock, "init") ? since_t0_s() : 0;
    driver.fail_code = (int)number("FAKE_NVML_FAIL_CODE", 15);
    driver.fail_from = number("FAKE_NVML_FAIL_FROM_S", 0);
    driver.fail_until = number("FAKE_NVML_FAIL_UNTIL_S", 1e18);
    driver.reset_at = number("FAKE_NVML_RESET_S", 0);
    driver.glitch_factor = number("FAKE_NVML_GLITCH_FACTOR", 0);
    driver.glitch_every = (int)number("FAKE_NVML_GLITCH_EVERY", 1);
    driver.glitch_from = number("FAKE_NVML_GLITCH_FROM_S", 0);
    driver.glitch_until = number("FAKE_NVML_GLITCH_UNTIL_S", 1e18);
    read_slices();
    open_counts();
}

static double fault_s(void) { return since_t0_s() - driver.fault_t0; }

static int failing(const Board *board) {
    double t = fault_s();
    if (!in(driver.fail, board->index)) return OK;
    return t >= driver.fail_from && t < driver.fail_until ? driver.fail_code : OK;
}

static int reading(const Board *board) {
    uint64_t call = __atomic_add_fetch(counts, 1, __ATOMIC_RELAXED);
    int tail = driver.tail_every > 0 && call % (uint64_t)driver.tail_every == 0;
    wait_for(tail ? driver.tail_s : driver.latency_s);
    return failing(board);
}

static double glitched(const Board *board, double value) {
    double t = fault_s();
    if (!in(driver.glitch, board->index) || t < driver.glitch_from || t >= driver.glitch_until)
        return value;
    uint64_t read = ++glitch_reads[board->index];
    return read % (uint64_t)driver.glitch_every ? value : value * driver.glitch_factor;
}

static int slices_of(int board) { return in(driver.mig, board) ? driver.slices : 0; }
