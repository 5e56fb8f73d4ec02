/* Stands in for libnvidia-ml.so.1 where there is no GPU: the functions that a worker asks, answered from a text
   file that the test writes, lines of `NAME DEVICE VALUE`. What a device has no line for it does not support.
   A handle is the number of its device and 1; of a MIG slice 100 more. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9,
       IS_LOST = 15 };

static int find(const char *name, int device, long long *value) {
    const char *path = getenv("NVML_STAND_IN");
    FILE *file = path ? fopen(path, "r") : NULL;
    char word[64];
    int number, found = NOT_SUPPORTED;
    long long read;
    while (file && fscanf(file, "%63s %d %lld", word, &number, &read) == 3)
        if (number == device && strcmp(word, name) == 0) { *value = read; found = OK; }
    if (file) fclose(file);
    return found;
}

static int card(void *handle) { return ((int)(intptr_t)handle - 1) % 100; }

static int get(void *handle, const char *name, long long *value) {
    long long lost = 0;
    if (find("lost", card(handle), &lost) == OK && lost) return IS_LOST;
    return find(name, card(handle), value);
}

static long long devices(void) { long long n = 0; find("devices", 0, &n); return n; }

int nvmlInitWithFlags(unsigned flags) { (void)flags; return getenv("NVML_STAND_IN") ? OK : DRIVER_NOT_LOADED; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
    return code == IS_LOST ? "GPU is lost" : code == NOT_SUPPORTED ? "Not Supported" : "Not Found";
}
int nvmlDeviceGetCount_v2(unsigned *count) { *count = (unsigned)devices(); return OK; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    if (index >= devices()) return INVALID_ARGUMENT;
    *handle = (void *)(intptr_t)(index + 1);
    long long lost = 0;
    return find("lost", (int)index, &lost) == OK && lost ? IS_LOST : OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
    int device;
    if (sscanf(uuid, "MIG-%d", &device) != 1 || device >= devices()) return NOT_FOUND;
    *handle = (void *)(intptr_t)(device + 101);
    return OK;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(void *slice, void **handle) {
    *handle = (void *)((intptr_t)slice - 100);
    return OK;
}
int nvmlDeviceGetIndex(void *handle, unsigned *index) { *index = (unsigned)card(handle); return OK; }
int nvmlDeviceGetUUID(void *handle, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%08d-0000-4000-8000-000000000000", card(handle));
    return OK;
}
int nvmlDeviceGetName(void *handle, char *name, unsigned length) {
    snprintf(name, length, "NVIDIA Stand-in %d", card(handle));
    return OK;
}
int nvmlDeviceGetMigMode(void *handle, unsigned *now, unsigned *later) {
    long long on;
    int code = get(handle, "mig", &on);
    if (code == OK) *now = *later = (unsigned)on;
    return code;
}
/* energy_mj is what the counter says; watts makes one that runs. */
int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *energy) {
    long long value;
    int code = get(handle, "energy_mj", &value);
    if (code == OK) *energy = (unsigned long long)value;
    if (code != NOT_SUPPORTED || get(handle, "watts", &value) != OK) return code;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    *energy = (unsigned long long)((now.tv_sec * 1000.0 + now.tv_nsec / 1e6) * (double)value);
    return OK;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    long long value;
    int code = get(handle, "power_mw", &value);
    if (code == OK) *milliwatts = (unsigned)value;
    return code;
}
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *total_free_used) {
    long long total, free;
    int code = get(handle, "total", &total);
    if (code != OK || (code = get(handle, "free", &free)) != OK) return code;
    total_free_used[0] = (unsigned long long)total;
    total_free_used[1] = (unsigned long long)free;
    total_free_used[2] = (unsigned long long)(total - free);
    return OK;
}
struct process { unsigned pid; unsigned long long used; unsigned instance, compute; };
int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, struct process *found) {
    long long pid, used;
    if (get(handle, "pid", &pid) != OK || get(handle, "used", &used) != OK) { *count = 0; return OK; }
    if (*count < 1) { *count = 1; return INSUFFICIENT_SIZE; }
    *count = 1;
    found[0] = (struct process){ (unsigned)pid, (unsigned long long)used, 0, 0 };
    return OK;
}
int nvmlDeviceGetTotalEccErrors(void *handle, int type, int counter, unsigned long long *count) {
    long long value;
    int code = type == 1 && counter == 0 ? get(handle, "ecc", &value) : INVALID_ARGUMENT;
    if (code == OK) *count = (unsigned long long)value;
    return code;
}
int nvmlDeviceGetRemappedRows(void *handle, unsigned *right, unsigned *wrong, unsigned *waits, unsigned *failed) {
    long long pending, broken;
    int code = get(handle, "remap_pending", &pending);
    if (code != OK || (code = get(handle, "remap_failed", &broken)) != OK) return code;
    *right = *wrong = 0;
    *waits = (unsigned)pending;
    *failed = (unsigned)broken;
    return OK;
}
int nvmlDeviceGetRetiredPagesPendingStatus(void *handle, int *waits) {
    long long value;
    int code = get(handle, "retired_pending", &value);
    if (code == OK) *waits = (int)value;
    return code;
}
