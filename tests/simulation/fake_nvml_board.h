/* What the simulated boards draw and what their sensors show of it, as closed functions of time.
 *
 * boards.py is the same in Python; a test holds the two together. Times are seconds since T0.
 * All knobs are environment variables, read at nvmlInit; a list holds GPU indices ("0,2") or "all".
 *
 * The draw
 *   FAKE_NVML_GPUS            number of boards (1)
 *   FAKE_NVML_T0_NS           origin of the waveform on CLOCK_MONOTONIC (0)
 *   FAKE_NVML_BASE_J          what the counter shows at T0 (1000)
 *   FAKE_NVML_WAVE            square or sine (square)
 *   FAKE_NVML_LOW_W           constant power, or the low part of the wave (100)
 *   FAKE_NVML_HIGH_W          the high part, which comes first (LOW_W: constant)
 *   FAKE_NVML_WAVE_MS         period of the wave (500)
 *   FAKE_NVML_DUTY            share of the square wave that is high (0.5)
 *   FAKE_NVML_FILE            CSV of "seconds,watts" instead: each row holds until the next
 *   FAKE_NVML_STEP_W          board k draws k times this on top (0)
 *   FAKE_NVML_SUPERCHIP       boards whose counter covers a module with a CPU ...
 *   FAKE_NVML_CPU_W           ... that draws this (0)
 *
 * The sensor
 *   FAKE_NVML_REFRESH_MS      the counter and the power change this often only (100; 0: always)
 *   FAKE_NVML_PHASE_MS        first refresh after T0 (0)
 *   FAKE_NVML_STAGGER_MS      board k refreshes k times this later (0)
 *   FAKE_NVML_JITTER_MS       each refresh is late by up to this, less than REFRESH_MS (0)
 *   FAKE_NVML_SEED            of the jitter (0)
 *   FAKE_NVML_INSTANT_MS      field 186 is the mean of this time before the refresh (0: the moment)
 *   FAKE_NVML_PART            the counter sees this share of each refresh, the end of it (1)
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BOARDS_MAX = 64, ROWS_MAX = 100000 };

typedef struct {
    int gpus, sine, rows;
    int64_t t0_ns;
    uint64_t superchip, seed;
    double base_j, low_w, high_w, wave_s, duty, step_w, cpu_w;
    double refresh_s, phase_s, stagger_s, jitter_s, instant_s, part;
    double *at_s, *watts, *sum_j;
} Draw;

static Draw draw;

static double number(const char *name, double otherwise) {
    const char *text = getenv(name);
    return text && *text ? atof(text) : otherwise;
}

static uint64_t listed(const char *name) {
    const char *text = getenv(name);
    if (!text || !*text) return 0;
    if (!strcmp(text, "all")) return ~0ull;
    char *copy = strdup(text), *rest = copy, *item;
    uint64_t mask = 0;
    while ((item = strsep(&rest, ","))) mask |= 1ull << (atoi(item) & 63);
    free(copy);
    return mask;
}

static int in(uint64_t mask, int board) { return (int)(mask >> board & 1); }

static void read_file(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file) {
        fprintf(stderr, "fake_nvml: %s cannot be read\n", path);
        abort();
    }
    draw.at_s = calloc(3 * ROWS_MAX, sizeof(double));
    draw.watts = draw.at_s + ROWS_MAX;
    draw.sum_j = draw.watts + ROWS_MAX;
    int k = 0;
    while (k < ROWS_MAX && fscanf(file, "%lf,%lf", draw.at_s + k, draw.watts + k) == 2) {
        if (k)
            draw.sum_j[k] = draw.sum_j[k - 1] +
                            draw.watts[k - 1] * (draw.at_s[k] - draw.at_s[k - 1]);
        k++;
    }
    draw.rows = k;
    fclose(file);
}

static void read_draw(void) {
    const char *t0 = getenv("FAKE_NVML_T0_NS"), *wave = getenv("FAKE_NVML_WAVE");
    const char *file = getenv("FAKE_NVML_FILE");
    free(draw.at_s);
    memset(&draw, 0, sizeof draw);
    draw.gpus = (int)fmin(number("FAKE_NVML_GPUS", 1), BOARDS_MAX);
    draw.t0_ns = t0 ? atoll(t0) : 0;
    draw.base_j = number("FAKE_NVML_BASE_J", 1000);
    draw.sine = wave && !strcmp(wave, "sine");
    draw.low_w = number("FAKE_NVML_LOW_W", 100);
    draw.high_w = number("FAKE_NVML_HIGH_W", draw.low_w);
    draw.wave_s = number("FAKE_NVML_WAVE_MS", 500) / 1e3;
    draw.duty = number("FAKE_NVML_DUTY", 0.5);
    draw.step_w = number("FAKE_NVML_STEP_W", 0);
    draw.superchip = listed("FAKE_NVML_SUPERCHIP");
    draw.cpu_w = number("FAKE_NVML_CPU_W", 0);
    draw.refresh_s = number("FAKE_NVML_REFRESH_MS", 100) / 1e3;
    draw.phase_s = number("FAKE_NVML_PHASE_MS", 0) / 1e3;
    draw.stagger_s = number("FAKE_NVML_STAGGER_MS", 0) / 1e3;
    draw.jitter_s = number("FAKE_NVML_JITTER_MS", 0) / 1e3;
    draw.seed = (uint64_t)number("FAKE_NVML_SEED", 0);
    draw.instant_s = number("FAKE_NVML_INSTANT_MS", 0) / 1e3;
    draw.part = number("FAKE_NVML_PART", 1);
    if (file && *file) read_file(file);
}

/* Row of the file that holds at a time; the first one before its own time. */
static int row_at(double t) {
    int low = 0, high = draw.rows;
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (draw.at_s[middle] <= t) low = middle;
        else high = middle;
    }
    return low;
}

/* The wave alone, without what board k draws on top: its power, and its energy since T0. */
static double wave_w(double t) {
    if (draw.rows) return draw.watts[row_at(t)];
    double rest = t - floor(t / draw.wave_s) * draw.wave_s;
    if (draw.sine) {
        double middle = (draw.low_w + draw.high_w) / 2, half = (draw.high_w - draw.low_w) / 2;
        return middle + half * sin(2 * M_PI * rest / draw.wave_s);
    }
    return rest < draw.wave_s * draw.duty ? draw.high_w : draw.low_w;
}

static double file_j(double t) {
    int k = row_at(t);
    return draw.sum_j[k] + draw.watts[k] * (t - draw.at_s[k]);
}

static double wave_j(double t) {
    if (draw.rows) return file_j(t) - file_j(0);
    double waves = floor(t / draw.wave_s), rest = t - waves * draw.wave_s;
    if (draw.sine) {
        double middle = (draw.low_w + draw.high_w) / 2, half = (draw.high_w - draw.low_w) / 2;
        double angle = 2 * M_PI * rest / draw.wave_s;
        return middle * t + half * draw.wave_s / (2 * M_PI) * (1 - cos(angle));
    }
    double high_s = draw.wave_s * draw.duty;
    return draw.low_w * t + (draw.high_w - draw.low_w) * (waves * high_s + fmin(rest, high_s));
}

/* The truth: power and energy since T0 of a GPU, or of the module around it. */
static double extra_w(int board, int module) {
    return board * draw.step_w + (module ? draw.cpu_w : 0);
}

static double power_w(int board, double t, int module) {
    return wave_w(fmax(t, 0)) + extra_w(board, module);
}

static double energy_j(int board, double t, int module) {
    return t <= 0 ? 0 : wave_j(t) + extra_w(board, module) * t;
}

static double mean_w(int board, double from, double to, int module) {
    from = fmax(from, 0);
    if (to - from <= 0) return power_w(board, to, module);
    return (energy_j(board, to, module) - energy_j(board, from, module)) / (to - from);
}

/* Refreshes: number k of a board comes at k periods and its phase, and is late by its jitter. */
static double lateness(int board, int64_t k) {
    uint64_t x = (draw.seed * 64 + (uint64_t)board) * 0x9E3779B97F4A7C15ull + (uint64_t)k;
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ x >> 27) * 0x94D049BB133111EBull;
    x ^= x >> 31;
    return (double)(x >> 11) / 9007199254740992.0;
}

static double refresh_at(int board, int64_t k) {
    double phase = draw.phase_s + board * draw.stagger_s;
    return (double)k * draw.refresh_s + phase + draw.jitter_s * lateness(board, k);
}

static int64_t latest(int board, double t) {
    double phase = draw.phase_s + board * draw.stagger_s;
    int64_t k = (int64_t)floor((t - phase) / draw.refresh_s);
    return refresh_at(board, k) > t ? k - 1 : k;
}

static double refreshed(int board, double t) {
    return draw.refresh_s > 0 ? refresh_at(board, latest(board, t)) : t;
}

/* What the counter has counted at its latest refresh before a time. */
static double counted_j(int board, double t, int module) {
    if (draw.part >= 1 || draw.refresh_s <= 0)
        return energy_j(board, refreshed(board, t), module);
    int64_t last = latest(board, t);
    double seen_s = draw.part * draw.refresh_s, sum = 0, before = 0;
    for (int64_t k = latest(board, 0) + 1; k <= last; k++) {
        double at = refresh_at(board, k);
        double seen_j = energy_j(board, at, module) - energy_j(board, at - seen_s, module);
        sum += seen_j * (at - before) / seen_s;
        before = at;
    }
    return sum;
}

static double instant_w(int board, double t, int module) {
    double at = refreshed(board, t);
    return mean_w(board, at - draw.instant_s, at, module);
}

/* As Ampere and newer: the mean of the latest second. */
static double average_w(int board, double t, int module) {
    double at = refreshed(board, t);
    return mean_w(board, at - 1, at, module);
}
