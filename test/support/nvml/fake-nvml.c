/*
 * A fake libnvidia-ml.so.1. It answers NVML's calls from a text file, the scenario, so that the tests need
 * no GPU and can change the "hardware" while the process under test runs.
 *
 * FAKE_NVML_SCENARIO  the scenario file; looked at on every call, read again when its mtime, size or inode
 *                     differs. Replace it by rename, never write into it.
 * FAKE_NVML_CALLS     optional file of call counts: one 64-byte record per function, its name padded with
 *                     NULs to 56 bytes, then a 64-bit counter that is updated in place by every process.
 *
 * The scenario: one `key = value` per line; blank lines and lines starting with # are skipped. An unknown
 * key, a key given twice or a malformed value is a mistake in the test: message on stderr and abort().
 * Numbers are NVML's raw units (mW, mJ, MHz, percent, bytes, KB/s), decimal or 0x hex; `n/a` is all ones
 * (NVML_VALUE_NOT_AVAILABLE). A value `rc 15` makes that one value fail with that code. A value that is not
 * set is NVML_ERROR_NOT_SUPPORTED; process lists are the exception, they are empty.
 *
 *   driver.version = 570.86.15             driver.nvml_version = 12.570.86.15   driver.cuda_version = 13000
 *   driver.process_stride = 32             _v3 process lists have 32-byte entries, as drivers 535.43 to 535.98
 *   driver.device_count = 3                only to differ from the number of GPUs
 *   driver.process_name.4242 = /bin/x      for nvmlSystemGetProcessName
 *
 * A GPU exists when any gpu.N key is set (0, 1, 2, ... without gaps), its MIG device M when any gpu.N.mig.M
 * key is (gaps are fine). Every key below works for both: gpu.0.name, gpu.0.mig.1.name
 *
 *   gpu.0.name .uuid .serial .vbios_version .compute_capability = text (9.0 for the last)
 *   gpu.0.index (default: N) .minor_number .brand .architecture = number
 *   gpu.0.pci.bus_id = 00000000:01:00.0    .pci.device_id .pci.subsystem_id = number
 *   gpu.0.memory.total .used .reserved .free (default: total - used - reserved); v1 `used` includes reserved
 *   gpu.0.bar1.total .used .free
 *   gpu.0.utilization.gpu .memory .encoder .decoder .jpeg .ofa
 *   gpu.0.power.usage .limit .enforced_limit .default_limit .min_limit .max_limit     gpu.0.energy
 *   gpu.0.temperature  .margin_temperature .temperature_threshold.shutdown .slowdown .memory_max .gpu_max
 *   gpu.0.fan.0, gpu.0.fan.1 ...           gpu.0.num_fans (default: how many fan.N are set)
 *   gpu.0.clock.graphics .sm .memory .video; gpu.0.max_clock.(the same); .performance_state
 *   gpu.0.clocks_event_reasons = 0x4
 *   gpu.0.pcie.generation .width .max_generation .max_width .replay_counter .throughput_tx .throughput_rx
 *   gpu.0.ecc_mode.current .pending        gpu.0.ecc_errors.corrected_volatile .corrected_aggregate
 *                                                          .uncorrected_volatile .uncorrected_aggregate
 *   gpu.0.remapped_rows.corrected .uncorrected .pending .failure     gpu.0.retired_pages_pending
 *   gpu.0.persistence_mode .compute_mode .display_active .display_mode .event_types (bit mask; 8 = XID)
 *   gpu.0.field.186 = u32 305000 [latency 12]          types: double u32 ulong u64 i64 i32 u16
 *   gpu.0.field.138:4294967295 = u64 7     for one scope; without it any scope is answered
 *   gpu.0.field_default = rc 2             the answer for all other fields (default: rc 3)
 *   gpu.0.process.4242 = compute 1073741824 [gi 1] [ci 0] [; graphics n/a [...]]      kinds: compute graphics mps
 *   gpu.0.process_utilization = 1          process utilisation works though no sample is set (NOT_FOUND = idle)
 *   gpu.0.utilization_sample.N = PID SM TIMESTAMP [MEM ENC DEC JPG OFA]     TIMESTAMP in us, `now`, `now-5000000`
 *   gpu.0.gpm.supported = 1                0 = the query says no; not set = the query itself is not supported
 *   gpu.0.gpm.elapsed = 1000000|now        what a sample taken now counts: time that passed (`now`: the clock's us),
 *   gpu.0.gpm.active.2 = 250000|61%|nan|untouched    and how much of it metric 2 was active. Metrics are computed from two samples:
 *                                          100 * growth of active / growth of elapsed; % = this share of elapsed;
 *                                          untouched = the metric is left as the caller passed it
 *   gpu.0.mig_mode.current .pending        gpu.0.max_mig_devices
 *   gpu.0.mig.1.gpu_instance_id .compute_instance_id, .attributes = the 9 members in struct order
 *
 *   event.ID = gpu 0 xid 79 [gi 1 ci 0]    delivered once per event set, if it was added after registration
 *
 *   call.FUNCTION.rc = 15                  call.FUNCTION@0.rc (GPU 0 only)      call.FUNCTION@0:1.rc (MIG device)
 *   call.FUNCTION.latency_ms = 25          call.FUNCTION.crash = 1 (SIGSEGV)
 *   call.FUNCTION.hang = forever|while-set call.*.rc, call.*@0.rc: every function
 *   The most specific wins: FUNCTION@0, FUNCTION, *@0, *; so `rc = 0` exempts one from a wider rule.
 *   nvmlDeviceGetHandleByIndex_v2(0) counts as a call on GPU 0. Of nvmlErrorString's, rc has no effect.
 */
#define _GNU_SOURCE
#include "nvml-abi.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("fake-nvml: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  abort();
}

/* ---- devices: a handle is the address of a slot, so a foreign handle is told from ours by its address ---- */

enum { MAX_GPUS = 64, MAX_MIGS = 16, SLOTS = 1 + MAX_MIGS, MAX_IDS = MAX_GPUS * SLOTS };
enum { GLOBAL = -1, FOREIGN = -2 };

static char handles[MAX_IDS][16];

static Device handle_of(int id) { return handles[id]; }
static int gpu_of(int id) { return id / SLOTS; }
static int mig_of(int id) { return id % SLOTS - 1; } /* -1: the GPU itself */
static int id_of_gpu(uint32_t gpu) { return gpu < MAX_GPUS ? (int)gpu * SLOTS : FOREIGN; }

static int id_of(Device handle) {
  uintptr_t offset = (uintptr_t)handle - (uintptr_t)handles;
  return offset < sizeof handles && offset % sizeof handles[0] == 0 ? (int)(offset / sizeof handles[0]) : FOREIGN;
}

/* ---- the exported functions' names, collected by the linker: for call rules and call counts ---- */

extern const char *const __start_fake_functions[] __attribute__((visibility("hidden")));
extern const char *const __stop_fake_functions[] __attribute__((visibility("hidden")));

static size_t function_count(void) { return (size_t)(__stop_fake_functions - __start_fake_functions); }

/* ---- the scenario ---- */

struct entry {
  int id; /* device, or GLOBAL */
  int line;
  const char *key, *value;
};
enum attribute { RC, LATENCY_MS, HANG, CRASH, ATTRIBUTES };
enum { HANG_FOREVER = 1, HANG_WHILE_SET = 2 };
struct rule {
  const char *function; /* a pointer out of fake_functions, or NULL for every function */
  int id;
  enum attribute attribute;
  long value;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards everything below */
static char *path;
static struct stat read_as;
static char *text;
static struct entry *entries;
static size_t entry_count;
static struct rule *rules;
static size_t rule_count;
static bool exists[MAX_IDS];
static uint32_t gpu_count;
static int initialized;

static const char *const threshold_names[] = {"shutdown", "slowdown", "memory_max", "gpu_max"};
static const char *const clock_names[] = {"graphics", "sm", "memory", "video"};
static const char *const attribute_names[] = {"rc", "latency_ms", "hang", "crash"};

/* # stands for a number, * for any text up to the end. */
static const char *const global_keys[] = {
    "driver.version", "driver.nvml_version", "driver.cuda_version", "driver.process_stride", "driver.device_count",
    "driver.process_name.#", "event.*",
};
static const char *const device_keys[] = {
    "name", "uuid", "serial", "vbios_version", "compute_capability", "index", "minor_number", "brand",
    "architecture", "pci.bus_id", "pci.device_id", "pci.subsystem_id", "memory.total", "memory.used",
    "memory.reserved", "memory.free", "bar1.total", "bar1.used", "bar1.free", "utilization.gpu",
    "utilization.memory", "utilization.encoder", "utilization.decoder", "utilization.jpeg", "utilization.ofa",
    "power.usage", "power.limit", "power.enforced_limit", "power.default_limit", "power.min_limit",
    "power.max_limit", "energy", "temperature", "margin_temperature", "temperature_threshold.shutdown",
    "temperature_threshold.slowdown", "temperature_threshold.memory_max", "temperature_threshold.gpu_max",
    "fan.#", "num_fans", "clock.graphics", "clock.sm", "clock.memory", "clock.video", "max_clock.graphics",
    "max_clock.sm", "max_clock.memory", "max_clock.video", "performance_state", "clocks_event_reasons",
    "pcie.generation", "pcie.width", "pcie.max_generation", "pcie.max_width", "pcie.replay_counter",
    "pcie.throughput_tx", "pcie.throughput_rx", "ecc_mode.current", "ecc_mode.pending",
    "ecc_errors.corrected_volatile", "ecc_errors.corrected_aggregate", "ecc_errors.uncorrected_volatile",
    "ecc_errors.uncorrected_aggregate", "remapped_rows.corrected", "remapped_rows.uncorrected",
    "remapped_rows.pending", "remapped_rows.failure", "retired_pages_pending", "persistence_mode",
    "compute_mode", "display_active", "display_mode", "event_types", "field.#", "field.#:#", "field_default",
    "process.#", "process_utilization", "utilization_sample.#", "gpm.supported",
    "gpm.elapsed", "gpm.active.#", "mig_mode.current", "mig_mode.pending",
    "max_mig_devices", "gpu_instance_id", "compute_instance_id", "attributes",
};

static bool matches(const char *pattern, const char *key) {
  for (; *pattern; pattern++) {
    if (*pattern == '*') return *key != '\0';
    if (*pattern == '#') {
      if (!isdigit((unsigned char)*key)) return false;
      while (isdigit((unsigned char)*key)) key++;
    } else if (*pattern != *key++) {
      return false;
    }
  }
  return *key == '\0';
}

static bool known(const char *const patterns[], size_t count, const char *key) {
  for (size_t i = 0; i < count; i++)
    if (matches(patterns[i], key)) return true;
  return false;
}
#define KNOWN(patterns, key) known(patterns, sizeof(patterns) / sizeof *(patterns), key)

/* Reads `WORD.<number>.` at *key: returns the number and moves on, or returns -1. */
static long numbered(const char **key, const char *word) {
  size_t length = strlen(word);
  if (strncmp(*key, word, length) != 0 || !isdigit((unsigned char)(*key)[length])) return -1;
  char *end;
  long number = strtol(*key + length, &end, 10);
  if (*end != '.') return -1;
  *key = end + 1;
  return number;
}

static void parse_rule(const char *key, const char *value, int line) {
  const char *name = key + strlen("call."), *dot = strrchr(name, '.');
  struct rule rule = {.id = GLOBAL, .attribute = ATTRIBUTES};
  if (!dot) die("%s:%d: unknown key '%s'", path, line, key);
  for (enum attribute a = RC; a < ATTRIBUTES; a++)
    if (strcmp(dot + 1, attribute_names[a]) == 0) rule.attribute = a;
  size_t length = strcspn(name, "@.");
  bool found = length == 1 && *name == '*';
  for (size_t i = 0; i < function_count(); i++) {
    const char *function = __start_fake_functions[i];
    if (strlen(function) == length && strncmp(function, name, length) == 0) rule.function = function, found = true;
  }
  if (name[length] == '@') {
    int gpu = -1, mig = -1, end = 0;
    if (sscanf(name + length + 1, "%d:%d.%n", &gpu, &mig, &end) != 2 || end == 0) {
      mig = -1;
      sscanf(name + length + 1, "%d.%n", &gpu, &end);
    }
    if (end == 0 || name + length + 1 + end != dot + 1 || gpu < 0 || gpu >= MAX_GPUS || mig >= MAX_MIGS)
      die("%s:%d: bad device in '%s'", path, line, key);
    rule.id = id_of_gpu((uint32_t)gpu) + 1 + mig;
  } else if (name + length != dot) {
    found = false;
  }
  if (!found || rule.attribute == ATTRIBUTES) die("%s:%d: unknown key '%s'", path, line, key);
  char *end;
  rule.value = strtol(value, &end, 10);
  if (rule.attribute == HANG) {
    rule.value = strcmp(value, "forever") == 0 ? HANG_FOREVER : strcmp(value, "while-set") == 0 ? HANG_WHILE_SET : 0;
    if (!rule.value) die("%s:%d: '%s' is neither forever nor while-set", path, line, value);
  } else if (end == value || *end || rule.value < 0) {
    die("%s:%d: '%s' is no number", path, line, value);
  }
  rules[rule_count++] = rule;
}

static int compare(const void *left, const void *right) {
  const struct entry *a = left, *b = right;
  return a->id != b->id ? (a->id < b->id ? -1 : 1) : strcmp(a->key, b->key);
}

static char *trim(char *start) {
  start += strspn(start, " \t\r");
  for (char *end = start + strlen(start); end > start && strchr(" \t\r", end[-1]);) *--end = '\0';
  return start;
}

static void parse(void) {
  size_t lines = 1;
  for (const char *c = text; *c; c++) lines += *c == '\n';
  free(entries);
  free(rules);
  entries = calloc(lines, sizeof *entries);
  rules = calloc(lines, sizeof *rules);
  if (!entries || !rules) die("out of memory");
  entry_count = rule_count = gpu_count = 0;
  memset(exists, 0, sizeof exists);
  char *rest = text;
  for (int line = 1; rest; line++) {
    char *start = trim(strsep(&rest, "\n")), *equals = strchr(start, '=');
    if (*start == '\0' || *start == '#') continue;
    if (!equals) die("%s:%d: no '=' in '%s'", path, line, start);
    *equals = '\0';
    const char *whole = trim(start), *key = whole, *value = trim(equals + 1);
    if (strncmp(key, "call.", 5) == 0) {
      parse_rule(key, value, line);
      continue;
    }
    int id = GLOBAL;
    long gpu = numbered(&key, "gpu."), mig = gpu < 0 ? -1 : numbered(&key, "mig.");
    if (gpu >= MAX_GPUS || mig >= MAX_MIGS) die("%s:%d: number too large in '%s'", path, line, whole);
    if (gpu >= 0) {
      id = id_of_gpu((uint32_t)gpu);
      exists[id] = true;
      id += 1 + (int)mig;
      exists[id] = true;
      if (gpu >= (long)gpu_count) gpu_count = (uint32_t)gpu + 1;
    }
    if (id == GLOBAL ? !KNOWN(global_keys, key) : !KNOWN(device_keys, key))
      die("%s:%d: unknown key '%s'", path, line, whole);
    entries[entry_count++] = (struct entry){.id = id, .line = line, .key = key, .value = value};
  }
  for (uint32_t gpu = 0; gpu < gpu_count; gpu++)
    if (!exists[id_of_gpu(gpu)]) die("%s: gpu.%u is missing below gpu.%u", path, gpu, gpu_count - 1);
  qsort(entries, entry_count, sizeof *entries, compare);
  for (size_t i = 1; i < entry_count; i++)
    if (compare(&entries[i - 1], &entries[i]) == 0)
      die("%s:%d: '%s' was given before", path, entries[i].line, entries[i].key);
}

/* Called with the lock held, at every call. */
static void refresh(void) {
  const char *wanted = getenv("FAKE_NVML_SCENARIO");
  if (!wanted) die("FAKE_NVML_SCENARIO is not set");
  if (!path || strcmp(path, wanted) != 0) {
    free(path);
    path = strdup(wanted);
    memset(&read_as, 0, sizeof read_as);
  }
  struct stat at;
  /* A test that ends removes its folder, perhaps before the process under test is gone: not worth a crash. */
  if (stat(path, &at) != 0) {
    if (read_as.st_ino) return;
    die("%s: %s", path, strerror(errno));
  }
  if (at.st_ino == read_as.st_ino && at.st_size == read_as.st_size &&
      at.st_mtim.tv_sec == read_as.st_mtim.tv_sec && at.st_mtim.tv_nsec == read_as.st_mtim.tv_nsec)
    return;
  FILE *file = fopen(path, "r");
  if (!file || fstat(fileno(file), &at) != 0) die("%s: %s", path, strerror(errno));
  free(text);
  text = calloc((size_t)at.st_size + 1, 1);
  if (!text || fread(text, 1, (size_t)at.st_size, file) != (size_t)at.st_size) die("%s: cannot read", path);
  fclose(file);
  read_as = at;
  parse();
}

static const struct entry *find(int id, const char *key) {
  struct entry wanted = {.id = id, .key = key};
  return entry_count ? bsearch(&wanted, entries, entry_count, sizeof wanted, compare) : NULL;
}

/* The entries of a device whose key starts so, one after the other (they are sorted); *next starts at 0. */
static const struct entry *each(int id, const char *prefix, size_t *next) {
  while (*next < entry_count) {
    const struct entry *entry = &entries[(*next)++];
    if (entry->id == id && strncmp(entry->key, prefix, strlen(prefix)) == 0) return entry;
  }
  return NULL;
}

static _Noreturn void malformed(const struct entry *entry) {
  die("%s:%d: malformed value '%s'", path, entry->line, entry->value);
}

/* Every value is kept as its 64 bits; a negative one wraps, and wraps back where it is stored. */
static bool parse_number(const char *value, const char **end, uint64_t *out) {
  if (strncasecmp(value, "n/a", 3) == 0) return *out = UINT64_MAX, *end = value + 3, true;
  char *stop;
  errno = 0;
  *out = strtoull(value, &stop, 0);
  *end = stop;
  return stop != value && errno == 0;
}

static uint64_t number_in(const struct entry *entry, const char **at) {
  uint64_t number;
  while (**at == ' ') ++*at;
  if (!parse_number(*at, at, &number) || (**at && !strchr(" .;-", **at))) malformed(entry);
  return number;
}

/* `rc 15` as a value: that code; otherwise 0. */
static int failure(const struct entry *entry) {
  if (strncmp(entry->value, "rc ", 3) != 0) return OK;
  const char *at = entry->value + 3;
  return (int)number_in(entry, &at);
}

static int get_u64(int id, const char *key, uint64_t *out) {
  if (!out) return INVALID_ARGUMENT;
  const struct entry *entry = find(id, key);
  if (!entry) return NOT_SUPPORTED;
  int rc = failure(entry);
  if (rc) return rc;
  const char *end = entry->value;
  *out = number_in(entry, &end);
  if (*end) malformed(entry);
  return OK;
}

static int get_u32(int id, const char *key, uint32_t *out) {
  uint64_t wide = 0;
  int rc = out ? get_u64(id, key, &wide) : INVALID_ARGUMENT;
  if (!rc) *out = (uint32_t)wide;
  return rc;
}

static int get_two_u32(int id, const char *key1, uint32_t *out1, const char *key2, uint32_t *out2) {
  int rc = get_u32(id, key1, out1);
  return rc ? rc : get_u32(id, key2, out2);
}

static int get_text(int id, const char *key, char *out, uint32_t length) {
  if (!out) return INVALID_ARGUMENT;
  const struct entry *entry = find(id, key);
  if (!entry) return NOT_SUPPORTED;
  int rc = failure(entry);
  if (rc) return rc;
  if (strlen(entry->value) >= length) return INSUFFICIENT_SIZE;
  strcpy(out, entry->value);
  return OK;
}

/* GROUP.NAME, the name taken out of a list by an NVML enum. */
static int get_named(int id, const char *group, const char *const names[4], uint32_t index, uint32_t *out) {
  char key[64];
  if (index >= 4) return INVALID_ARGUMENT;
  snprintf(key, sizeof key, "%s.%s", group, names[index]);
  return get_u32(id, key, out);
}

/* ---- what happens around every call ---- */

struct count_record {
  char name[56];
  _Atomic uint64_t calls;
};
_Static_assert(sizeof(struct count_record) == 64, "read by fake-nvml.ts");

static void count(size_t function) {
  static struct count_record *records;
  static bool tried;
  if (!tried) {
    tried = true;
    const char *file = getenv("FAKE_NVML_CALLS");
    if (!file) return;
    size_t size = function_count() * sizeof *records;
    int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) die("%s: %s", file, strerror(errno));
    records = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (records == MAP_FAILED) die("%s: %s", file, strerror(errno));
    close(fd);
    for (size_t i = 0; i < function_count(); i++)
      memcpy(records[i].name, __start_fake_functions[i], strlen(__start_fake_functions[i]));
  }
  if (records) atomic_fetch_add(&records[function].calls, 1);
}

static long rule_for(const char *function, int id, enum attribute attribute) {
  long value = 0;
  int best = -1;
  for (size_t i = 0; i < rule_count; i++) {
    const struct rule *rule = &rules[i];
    if (rule->attribute != attribute || (rule->function && rule->function != function)) continue;
    if (rule->id != GLOBAL && rule->id != id) continue;
    int rank = (rule->function ? 2 : 0) + (rule->id != GLOBAL ? 1 : 0);
    if (rank > best) best = rank, value = rule->value;
  }
  return value;
}

static void sleep_ms(long ms) {
  struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

/* Sleeping is done without the lock: one call that hangs must not stop the others. */
static void sleep_unlocked(long ms) {
  pthread_mutex_unlock(&lock);
  sleep_ms(ms);
  pthread_mutex_lock(&lock);
  refresh();
}

static int64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Returns with the lock held, whatever the code. */
static int enter(const char *const *slot, int id) {
  const char *function = *slot;
  pthread_mutex_lock(&lock);
  refresh();
  count((size_t)(slot - __start_fake_functions));
  if (rule_count) {
    long latency = rule_for(function, id, LATENCY_MS), hang;
    if (latency) sleep_unlocked(latency);
    while ((hang = rule_for(function, id, HANG)) != 0) {
      if (hang == HANG_WHILE_SET) {
        sleep_unlocked(2);
      } else {
        pthread_mutex_unlock(&lock);
        for (;;) pause();
      }
    }
    if (rule_for(function, id, CRASH)) {
      signal(SIGSEGV, SIG_DFL);
      raise(SIGSEGV);
    }
    long rc = rule_for(function, id, RC);
    if (rc) return (int)rc;
  }
  bool works_uninitialized = strncmp(function, "nvmlInit", 8) == 0 || strcmp(function, "nvmlErrorString") == 0;
  if (!initialized && !works_uninitialized) return UNINITIALIZED;
  return id == GLOBAL || (id >= 0 && exists[id]) ? OK : INVALID_ARGUMENT;
}

/*
 * API(name, device id, (parameters), (arguments)) { body }: the exported function counts, applies the call
 * rules and checks the device; the body runs with the lock held.
 */
#define API(name, id, parameters, arguments)                                                           \
  static const char *const slot_##name __attribute__((section("fake_functions"), used)) = #name;       \
  static int body_##name parameters;                                                                   \
  EXPORT int name parameters;                                                                          \
  int name parameters {                                                                                \
    int rc = enter(&slot_##name, id);                                                                  \
    if (rc == OK) rc = body_##name arguments;                                                          \
    pthread_mutex_unlock(&lock);                                                                       \
    return rc;                                                                                         \
  }                                                                                                    \
  static int body_##name parameters

#define DEVICE_U32(name, key) \
  API(name, id_of(device), (Device device, uint32_t *out), (device, out)) { return get_u32(id_of(device), key, out); }
#define DEVICE_U64(name, key) \
  API(name, id_of(device), (Device device, uint64_t *out), (device, out)) { return get_u64(id_of(device), key, out); }
#define DEVICE_TEXT(name, key)                                                                              \
  API(name, id_of(device), (Device device, char *out, uint32_t length), (device, out, length)) {            \
    return get_text(id_of(device), key, out, length);                                                       \
  }
#define DEVICE_TWO_U32(name, key1, key2)                                                                    \
  API(name, id_of(device), (Device device, uint32_t *out1, uint32_t *out2), (device, out1, out2)) {         \
    return get_two_u32(id_of(device), key1, out1, key2, out2);                                              \
  }

/* ---- library and system ---- */

API(nvmlInit_v2, GLOBAL, (void), ()) { return initialized++, OK; }
API(nvmlInitWithFlags, GLOBAL, (uint32_t flags), (flags)) { return (void)flags, initialized++, OK; }
static size_t gpm_samples_in_use(void);
API(nvmlShutdown, GLOBAL, (void), ()) {
  if (initialized == 1 && gpm_samples_in_use()) die("%zu GPM samples are not freed at shutdown", gpm_samples_in_use());
  return initialized--, OK;
}

static const char *const slot_nvmlErrorString __attribute__((section("fake_functions"), used)) = "nvmlErrorString";
EXPORT const char *nvmlErrorString(int rc);
const char *nvmlErrorString(int rc) {
  static const char *const texts[] = {
      "Success", "Uninitialized", "Invalid Argument", "Not Supported", "Insufficient Permissions",
      "Already Initialized", "Not Found", "Insufficient Size", "Insufficient External Power",
      "Driver Not Loaded", "Timeout", "Interrupt Request Issue", "NVML Shared Library Not Found",
      "Function Not Found", "Corrupted infoROM", "GPU is lost", "GPU requires reset",
      "GPU access blocked by the operating system", "Driver/library version mismatch", "In use",
      "Insufficient Memory", "No data", "Resource not available with ECC", "Insufficient Resources",
      "Frequency not supported", "Argument version mismatch", "Deprecated", "Not Ready", "GPU Not Found",
      "Invalid State",
  };
  enter(&slot_nvmlErrorString, GLOBAL);
  pthread_mutex_unlock(&lock);
  return rc >= 0 && (size_t)rc < sizeof texts / sizeof *texts ? texts[rc] : "Unknown Error";
}

#define SYSTEM_TEXT(name, key) \
  API(name, GLOBAL, (char *out, uint32_t length), (out, length)) { return get_text(GLOBAL, key, out, length); }
#define SYSTEM_U32(name, key) \
  API(name, GLOBAL, (uint32_t *out), (out)) { return get_u32(GLOBAL, key, out); }

SYSTEM_TEXT(nvmlSystemGetDriverVersion, "driver.version")
SYSTEM_TEXT(nvmlSystemGetNVMLVersion, "driver.nvml_version")
SYSTEM_U32(nvmlSystemGetCudaDriverVersion, "driver.cuda_version")
SYSTEM_U32(nvmlSystemGetCudaDriverVersion_v2, "driver.cuda_version")

API(nvmlSystemGetProcessName, GLOBAL, (uint32_t pid, char *out, uint32_t length), (pid, out, length)) {
  char key[64];
  snprintf(key, sizeof key, "driver.process_name.%u", pid);
  int rc = get_text(GLOBAL, key, out, length);
  return rc == NOT_SUPPORTED ? NOT_FOUND : rc;
}

/* ---- finding devices ---- */

API(nvmlDeviceGetCount_v2, GLOBAL, (uint32_t *out), (out)) {
  if (!out) return INVALID_ARGUMENT;
  *out = gpu_count;
  return find(GLOBAL, "driver.device_count") ? get_u32(GLOBAL, "driver.device_count", out) : OK;
}

API(nvmlDeviceGetHandleByIndex_v2, id_of_gpu(index), (uint32_t index, Device *out), (index, out)) {
  if (!out) return INVALID_ARGUMENT;
  *out = handle_of(id_of_gpu(index));
  return OK;
}

static int handle_with(const char *key, const char *wanted, Device *out) {
  if (!wanted || !out) return INVALID_ARGUMENT;
  for (size_t i = 0; i < entry_count; i++) {
    const struct entry *entry = &entries[i];
    if (entry->id >= 0 && strcmp(entry->key, key) == 0 && strcasecmp(entry->value, wanted) == 0)
      return *out = handle_of(entry->id), OK;
  }
  return NOT_FOUND;
}

API(nvmlDeviceGetHandleByUUID, GLOBAL, (const char *uuid, Device *out), (uuid, out)) {
  return handle_with("uuid", uuid, out);
}
API(nvmlDeviceGetHandleByPciBusId_v2, GLOBAL, (const char *bus_id, Device *out), (bus_id, out)) {
  return handle_with("pci.bus_id", bus_id, out);
}

/* ---- identity ---- */

DEVICE_TEXT(nvmlDeviceGetName, "name")
DEVICE_TEXT(nvmlDeviceGetUUID, "uuid")
DEVICE_TEXT(nvmlDeviceGetSerial, "serial")
DEVICE_TEXT(nvmlDeviceGetVbiosVersion, "vbios_version")
DEVICE_U32(nvmlDeviceGetMinorNumber, "minor_number")
DEVICE_U32(nvmlDeviceGetBrand, "brand")
DEVICE_U32(nvmlDeviceGetArchitecture, "architecture")
DEVICE_U32(nvmlDeviceGetPersistenceMode, "persistence_mode")
DEVICE_U32(nvmlDeviceGetComputeMode, "compute_mode")
DEVICE_U32(nvmlDeviceGetDisplayActive, "display_active")
DEVICE_U32(nvmlDeviceGetDisplayMode, "display_mode")

API(nvmlDeviceGetIndex, id_of(device), (Device device, uint32_t *out), (device, out)) {
  int id = id_of(device), rc = get_u32(id, "index", out);
  if (rc != NOT_SUPPORTED) return rc;
  *out = (uint32_t)(mig_of(id) < 0 ? gpu_of(id) : mig_of(id));
  return OK;
}

API(nvmlDeviceGetCudaComputeCapability, id_of(device), (Device device, int *major, int *minor), (device, major, minor)) {
  char value[16];
  if (!major || !minor) return INVALID_ARGUMENT;
  int rc = get_text(id_of(device), "compute_capability", value, sizeof value);
  if (rc == OK && sscanf(value, "%d.%d", major, minor) != 2) malformed(find(id_of(device), "compute_capability"));
  return rc;
}

API(nvmlDeviceGetPciInfo_v3, id_of(device), (Device device, struct pci_info *out), (device, out)) {
  int id = id_of(device);
  if (!out) return INVALID_ARGUMENT;
  struct pci_info info = {0};
  int rc = get_text(id, "pci.bus_id", info.bus_id, sizeof info.bus_id);
  if (rc) return rc;
  if (sscanf(info.bus_id, "%x:%x:%x", &info.domain, &info.bus, &info.device) != 3) malformed(find(id, "pci.bus_id"));
  snprintf(info.legacy_bus_id, sizeof info.legacy_bus_id, "%04X:%02X:%02X.0", info.domain & 0xffff,
           info.bus & 0xff, info.device & 0xff);
  rc = get_two_u32(id, "pci.device_id", &info.device_id, "pci.subsystem_id", &info.subsystem_id);
  if (rc && rc != NOT_SUPPORTED) return rc;
  *out = info;
  return OK;
}

/* The Linux library has these two, and nvitop complains without them; they have an answer on Windows only. */
#define DRIVER_MODEL(name)                                                                                     \
  API(name, id_of(device), (Device device, uint32_t *now, uint32_t *pending), (device, now, pending)) {        \
    return (void)device, (void)now, (void)pending, NOT_SUPPORTED;                                              \
  }
DRIVER_MODEL(nvmlDeviceGetDriverModel)
DRIVER_MODEL(nvmlDeviceGetDriverModel_v2)

/* ---- memory ---- */

static int memory_of(int id, struct memory_v2 *out) {
  int rc = get_u64(id, "memory.total", &out->total);
  if (!rc) rc = get_u64(id, "memory.used", &out->used);
  if (rc) return rc;
  if (get_u64(id, "memory.reserved", &out->reserved)) out->reserved = 0;
  if (get_u64(id, "memory.free", &out->free)) out->free = out->total - out->used - out->reserved;
  return OK;
}

API(nvmlDeviceGetMemoryInfo, id_of(device), (Device device, struct memory *out), (device, out)) {
  struct memory_v2 memory;
  int rc = out ? memory_of(id_of(device), &memory) : INVALID_ARGUMENT;
  if (!rc) *out = (struct memory){.total = memory.total, .free = memory.free, .used = memory.used + memory.reserved};
  return rc;
}

API(nvmlDeviceGetMemoryInfo_v2, id_of(device), (Device device, struct memory_v2 *out), (device, out)) {
  if (!out) return INVALID_ARGUMENT;
  if (out->version != VERSIONED(*out, 2)) return VERSION_MISMATCH;
  return memory_of(id_of(device), out);
}

API(nvmlDeviceGetBAR1MemoryInfo, id_of(device), (Device device, struct bar1 *out), (device, out)) {
  int id = id_of(device);
  if (!out) return INVALID_ARGUMENT;
  int rc = get_u64(id, "bar1.total", &out->total);
  if (!rc) rc = get_u64(id, "bar1.used", &out->used);
  if (!rc && get_u64(id, "bar1.free", &out->free)) out->free = out->total - out->used;
  return rc;
}

/* ---- load, power, temperature, clocks ---- */

API(nvmlDeviceGetUtilizationRates, id_of(device), (Device device, struct utilization *out), (device, out)) {
  if (!out) return INVALID_ARGUMENT;
  return get_two_u32(id_of(device), "utilization.gpu", &out->gpu, "utilization.memory", &out->memory);
}

#define ENGINE(name, key)                                                                                   \
  API(name, id_of(device), (Device device, uint32_t *out, uint32_t *period_us), (device, out, period_us)) { \
    if (!period_us) return INVALID_ARGUMENT;                                                                \
    *period_us = 167000;                                                                                    \
    return get_u32(id_of(device), key, out);                                                                \
  }
ENGINE(nvmlDeviceGetEncoderUtilization, "utilization.encoder")
ENGINE(nvmlDeviceGetDecoderUtilization, "utilization.decoder")
ENGINE(nvmlDeviceGetJpgUtilization, "utilization.jpeg")
ENGINE(nvmlDeviceGetOfaUtilization, "utilization.ofa")

DEVICE_U32(nvmlDeviceGetPowerUsage, "power.usage")
DEVICE_U32(nvmlDeviceGetPowerManagementLimit, "power.limit")
DEVICE_U32(nvmlDeviceGetEnforcedPowerLimit, "power.enforced_limit")
DEVICE_U32(nvmlDeviceGetPowerManagementDefaultLimit, "power.default_limit")
DEVICE_TWO_U32(nvmlDeviceGetPowerManagementLimitConstraints, "power.min_limit", "power.max_limit")
DEVICE_U64(nvmlDeviceGetTotalEnergyConsumption, "energy")

API(nvmlDeviceGetTemperatureV, id_of(device), (Device device, struct temperature *io), (device, io)) {
  if (!io || io->sensor != 0) return INVALID_ARGUMENT;
  if (io->version != VERSIONED(*io, 1)) return VERSION_MISMATCH;
  return get_u32(id_of(device), "temperature", (uint32_t *)&io->temperature);
}

API(nvmlDeviceGetTemperature, id_of(device), (Device device, uint32_t sensor, uint32_t *out), (device, sensor, out)) {
  return sensor == 0 ? get_u32(id_of(device), "temperature", out) : INVALID_ARGUMENT;
}

API(nvmlDeviceGetTemperatureThreshold, id_of(device), (Device device, uint32_t type, uint32_t *out), (device, type, out)) {
  int rc = get_named(id_of(device), "temperature_threshold", threshold_names, type, out);
  return type >= 4 && type < 9 ? NOT_SUPPORTED : rc; /* further types exist, and answer so on most boards */
}

API(nvmlDeviceGetMarginTemperature, id_of(device), (Device device, struct margin_temperature *io), (device, io)) {
  if (!io) return INVALID_ARGUMENT;
  if (io->version != VERSIONED(*io, 1)) return VERSION_MISMATCH;
  return get_u32(id_of(device), "margin_temperature", (uint32_t *)&io->margin);
}

static int fan_speed(int id, uint32_t fan, uint32_t *out) {
  char key[32];
  snprintf(key, sizeof key, "fan.%u", fan);
  return get_u32(id, key, out);
}

API(nvmlDeviceGetNumFans, id_of(device), (Device device, uint32_t *out), (device, out)) {
  int rc = get_u32(id_of(device), "num_fans", out);
  if (rc != NOT_SUPPORTED) return rc;
  uint32_t fans = 0;
  for (size_t next = 0; each(id_of(device), "fan.", &next);) fans++;
  if (fans) *out = fans;
  return fans ? OK : NOT_SUPPORTED;
}

API(nvmlDeviceGetFanSpeed_v2, id_of(device), (Device device, uint32_t fan, uint32_t *out), (device, fan, out)) {
  return fan_speed(id_of(device), fan, out);
}
API(nvmlDeviceGetFanSpeed, id_of(device), (Device device, uint32_t *out), (device, out)) {
  return fan_speed(id_of(device), 0, out);
}

API(nvmlDeviceGetClockInfo, id_of(device), (Device device, uint32_t type, uint32_t *out), (device, type, out)) {
  return get_named(id_of(device), "clock", clock_names, type, out);
}
API(nvmlDeviceGetMaxClockInfo, id_of(device), (Device device, uint32_t type, uint32_t *out), (device, type, out)) {
  return get_named(id_of(device), "max_clock", clock_names, type, out);
}
DEVICE_U32(nvmlDeviceGetPerformanceState, "performance_state")
DEVICE_U64(nvmlDeviceGetCurrentClocksEventReasons, "clocks_event_reasons")
DEVICE_U64(nvmlDeviceGetCurrentClocksThrottleReasons, "clocks_event_reasons")

/* ---- PCIe, ECC, health ---- */

DEVICE_U32(nvmlDeviceGetCurrPcieLinkGeneration, "pcie.generation")
DEVICE_U32(nvmlDeviceGetCurrPcieLinkWidth, "pcie.width")
DEVICE_U32(nvmlDeviceGetMaxPcieLinkGeneration, "pcie.max_generation")
DEVICE_U32(nvmlDeviceGetMaxPcieLinkWidth, "pcie.max_width")
DEVICE_U32(nvmlDeviceGetPcieReplayCounter, "pcie.replay_counter")

API(nvmlDeviceGetPcieThroughput, id_of(device), (Device device, uint32_t counter, uint32_t *out), (device, counter, out)) {
  if (counter > 1) return INVALID_ARGUMENT;
  return get_u32(id_of(device), counter ? "pcie.throughput_rx" : "pcie.throughput_tx", out);
}

DEVICE_TWO_U32(nvmlDeviceGetEccMode, "ecc_mode.current", "ecc_mode.pending")

API(nvmlDeviceGetTotalEccErrors, id_of(device), (Device device, uint32_t type, uint32_t counter, uint64_t *out),
    (device, type, counter, out)) {
  static const char *const keys[2][2] = {
      {"ecc_errors.corrected_volatile", "ecc_errors.corrected_aggregate"},
      {"ecc_errors.uncorrected_volatile", "ecc_errors.uncorrected_aggregate"},
  };
  return type > 1 || counter > 1 ? INVALID_ARGUMENT : get_u64(id_of(device), keys[type][counter], out);
}

API(nvmlDeviceGetRemappedRows, id_of(device),
    (Device device, uint32_t *corrected, uint32_t *uncorrected, uint32_t *pending, uint32_t *failed),
    (device, corrected, uncorrected, pending, failed)) {
  int id = id_of(device);
  int rc = get_two_u32(id, "remapped_rows.corrected", corrected, "remapped_rows.uncorrected", uncorrected);
  return rc ? rc : get_two_u32(id, "remapped_rows.pending", pending, "remapped_rows.failure", failed);
}

DEVICE_U32(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pages_pending")

static int store_value(const struct entry *entry, struct field_value *out) {
  static const char *const types[] = {"double", "u32", "ulong", "u64", "i64", "i32", "u16"};
  char type[8];
  int length = 0;
  int rc = failure(entry);
  if (rc) return rc;
  if (sscanf(entry->value, "%7s %n", type, &length) != 1 || !length) malformed(entry);
  for (out->type = TYPE_DOUBLE; out->type <= TYPE_U16; out->type++)
    if (strcmp(type, types[out->type]) == 0) break;
  if (out->type > TYPE_U16) malformed(entry);
  const char *at = entry->value + length;
  if (out->type == TYPE_DOUBLE) {
    char *end;
    out->value.d = strtod(at, &end);
    at = end;
  } else {
    uint64_t bits = number_in(entry, &at);
    /* Only the member's own bytes: what a reader of the wrong type would see is not defined to be zero. */
    memset(&out->value, 0xa5, sizeof out->value);
    if (out->type == TYPE_U32 || out->type == TYPE_I32) out->value.u32 = (uint32_t)bits;
    else if (out->type == TYPE_U16) out->value.u16 = (uint16_t)bits;
    else out->value.u64 = bits;
  }
  long long latency;
  if (sscanf(at, " latency %lld", &latency) == 1) out->latency_usec = latency;
  else if (*at) malformed(entry);
  return OK;
}

API(nvmlDeviceGetFieldValues, id_of(device), (Device device, int count, struct field_value *values),
    (device, count, values)) {
  int id = id_of(device);
  if (!values || count < 1) return INVALID_ARGUMENT;
  for (int i = 0; i < count; i++) {
    char key[48];
    snprintf(key, sizeof key, "field.%u:%u", values[i].field, values[i].scope);
    const struct entry *entry = find(id, key);
    if (!entry) *strchr(key, ':') = '\0', entry = find(id, key);
    if (!entry) entry = find(id, "field_default");
    values[i].timestamp = now_us();
    values[i].latency_usec = 3;
    values[i].rc = entry ? store_value(entry, &values[i]) : NOT_SUPPORTED;
  }
  return OK;
}

/* ---- processes ---- */

/* One `KIND MEMORY [gi N] [ci N]` of a process entry; returns what follows its semicolon, or NULL at the end. */
static const char *parse_process(const struct entry *entry, const char *at, char kind[16], struct process_v3_wide *out) {
  int length = 0;
  if (sscanf(at, " %15[a-z] %n", kind, &length) != 1 || !length) malformed(entry);
  if (strcmp(kind, "compute") && strcmp(kind, "graphics") && strcmp(kind, "mps")) malformed(entry);
  at += length;
  int id = entry->id;
  *out = (struct process_v3_wide){.pid = (uint32_t)strtoul(entry->key + strlen("process."), NULL, 10),
                                  .memory = number_in(entry, &at),
                                  .gpu_instance = UINT32_MAX, .compute_instance = UINT32_MAX};
  if (mig_of(id) >= 0)
    get_two_u32(id, "gpu_instance_id", &out->gpu_instance, "compute_instance_id", &out->compute_instance);
  for (char word[3]; sscanf(at, " %2[a-z] %n", word, &length) == 1;) {
    at += length;
    uint32_t number = (uint32_t)number_in(entry, &at);
    if (strcmp(word, "gi") == 0) out->gpu_instance = number;
    else if (strcmp(word, "ci") == 0) out->compute_instance = number;
    else malformed(entry);
  }
  at += strspn(at, " ");
  if (*at == ';') return at + 1;
  if (*at) malformed(entry);
  return NULL;
}

/* count: in, how many entries fit; out, how many there are. The entry layouts share their beginnings. */
static int process_list(int id, const char *kind, uint32_t *count, void *out, size_t stride) {
  if (!count || (*count && !out)) return INVALID_ARGUMENT;
  uint32_t fit = *count;
  *count = 0;
  const struct entry *entry;
  for (size_t next = 0; (entry = each(id, "process.", &next));) {
    for (const char *at = entry->value; at;) {
      char entry_kind[16];
      struct process_v3_wide process;
      at = parse_process(entry, at, entry_kind, &process);
      if (strcmp(entry_kind, kind) != 0) continue;
      if (*count < fit) memcpy((char *)out + stride * *count, &process, stride);
      ++*count;
    }
  }
  return *count > fit ? INSUFFICIENT_SIZE : OK;
}

static size_t stride_v3(void) {
  uint32_t stride;
  if (get_u32(GLOBAL, "driver.process_stride", &stride)) return sizeof(struct process_v2);
  if (stride != sizeof(struct process_v2) && stride != sizeof(struct process_v3_wide))
    malformed(find(GLOBAL, "driver.process_stride"));
  return stride;
}

#define PROCESSES(name, kind, stride)                                                                   \
  API(name, id_of(device), (Device device, uint32_t *count, void *out), (device, count, out)) {         \
    return process_list(id_of(device), kind, count, out, stride);                                       \
  }
PROCESSES(nvmlDeviceGetComputeRunningProcesses, "compute", sizeof(struct process_v1))
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "compute", sizeof(struct process_v2))
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "compute", stride_v3())
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, "graphics", sizeof(struct process_v1))
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "graphics", sizeof(struct process_v2))
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "graphics", stride_v3())
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, "mps", sizeof(struct process_v1))
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, "mps", sizeof(struct process_v2))
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "mps", stride_v3())

/* Clients tell the entry size of _v3 by which of these two the library has; nobody needs their answers. */
API(nvmlDeviceGetRunningProcessDetailList, id_of(device), (Device device, void *list), (device, list)) {
  return (void)device, (void)list, NOT_SUPPORTED;
}
API(nvmlDeviceGetConfComputeMemSizeInfo, id_of(device), (Device device, void *info), (device, info)) {
  return (void)device, (void)info, NOT_SUPPORTED;
}

static struct process_utilization parse_sample(const struct entry *entry) {
  const char *at = entry->value;
  uint64_t optional[5] = {0};
  struct process_utilization sample = {.pid = (uint32_t)number_in(entry, &at)};
  sample.sm = (uint32_t)number_in(entry, &at);
  at += strspn(at, " ");
  if (strncmp(at, "now", 3) == 0) {
    at += 3;
    sample.timestamp = (uint64_t)now_us();
    if (*at == '-') at++, sample.timestamp -= number_in(entry, &at);
  } else {
    sample.timestamp = number_in(entry, &at);
  }
  for (int i = 0; *at && i < 5; i++) optional[i] = number_in(entry, &at);
  if (*at) malformed(entry);
  sample.memory = (uint32_t)optional[0];
  sample.encoder = (uint32_t)optional[1];
  sample.decoder = (uint32_t)optional[2];
  sample.jpeg = (uint32_t)optional[3];
  sample.ofa = (uint32_t)optional[4];
  return sample;
}

/* The older call has rows of the older layout. One of the two arrays is NULL, or both to ask for the count. */
static int samples_since(int id, uint64_t last_seen, uint32_t *count, struct process_sample *old,
                         struct process_utilization *rows) {
  uint32_t fit = old || rows ? *count : 0, newer = 0;
  bool any = find(id, "process_utilization") != NULL;
  const struct entry *entry;
  for (size_t next = 0; (entry = each(id, "utilization_sample.", &next)); any = true) {
    struct process_utilization s = parse_sample(entry);
    if (s.timestamp <= last_seen) continue;
    if (newer < fit && rows) rows[newer] = s;
    if (newer < fit && old)
      old[newer] = (struct process_sample){s.pid, s.timestamp, s.sm, s.memory, s.encoder, s.decoder};
    newer++;
  }
  *count = newer;
  return !any ? NOT_SUPPORTED : newer == 0 ? NOT_FOUND : newer > fit ? INSUFFICIENT_SIZE : OK;
}

API(nvmlDeviceGetProcessUtilization, id_of(device),
    (Device device, struct process_sample *out, uint32_t *count, uint64_t last_seen), (device, out, count, last_seen)) {
  return count ? samples_since(id_of(device), last_seen, count, out, NULL) : INVALID_ARGUMENT;
}

API(nvmlDeviceGetProcessesUtilizationInfo, id_of(device), (Device device, struct processes_utilization *io), (device, io)) {
  if (!io) return INVALID_ARGUMENT;
  if (io->version != VERSIONED(*io, 1)) return VERSION_MISMATCH;
  return samples_since(id_of(device), io->last_seen, &io->count, NULL, io->rows);
}

/* ---- GPM: a sample holds the counters of its moment; a metric is computed from two samples ---- */

struct gpm_counter { int rc; bool untouched; double active; };
struct gpm_sample {
  bool used, taken;
  int id;
  double elapsed;
  struct gpm_counter counters[GPM_METRICS];
};
static struct gpm_sample gpm_samples[160];
enum { MAX_GPM_SAMPLES = sizeof gpm_samples / sizeof *gpm_samples };

static size_t gpm_samples_in_use(void) {
  size_t used = 0;
  for (size_t i = 0; i < MAX_GPM_SAMPLES; i++) used += gpm_samples[i].used;
  return used;
}

/* A sample that was freed, or was never one, is a mistake that would corrupt a real client's memory. */
static struct gpm_sample *gpm_sample_of(void *handle, const char *what) {
  for (size_t i = 0; i < MAX_GPM_SAMPLES; i++)
    if (&gpm_samples[i] == handle && gpm_samples[i].used) return &gpm_samples[i];
  die("%s of a GPM sample that is not allocated", what);
}

API(nvmlGpmQueryDeviceSupport, id_of(device), (Device device, struct gpm_support *io), (device, io)) {
  if (!io) return INVALID_ARGUMENT;
  if (io->version != 1) return VERSION_MISMATCH;
  int id = id_of(device);
  return get_u32(mig_of(id) < 0 ? id : id_of_gpu((uint32_t)gpu_of(id)), "gpm.supported", &io->supported);
}

API(nvmlGpmSampleAlloc, GLOBAL, (void **out), (out)) {
  if (!out) return INVALID_ARGUMENT;
  for (size_t i = 0; i < MAX_GPM_SAMPLES; i++) {
    if (gpm_samples[i].used) continue;
    gpm_samples[i] = (struct gpm_sample){.used = true};
    return *out = &gpm_samples[i], OK;
  }
  die("more than %d GPM samples: is one freed?", MAX_GPM_SAMPLES);
}

API(nvmlGpmSampleFree, GLOBAL, (void *handle), (handle)) {
  gpm_sample_of(handle, "freeing")->used = false;
  return OK;
}

static double gpm_number(const struct entry *entry, double elapsed) {
  char *end;
  double number = strtod(entry->value, &end);
  if (*end == '%') number *= elapsed / 100, end++;
  if (end == entry->value || *end) malformed(entry);
  return number;
}

static int take_gpm_sample(int id, struct gpm_sample *sample) {
  const struct entry *entry = find(id, "gpm.elapsed");
  if (!entry) return NOT_SUPPORTED;
  int rc = failure(entry);
  if (rc) return rc;
  bool now = strcmp(entry->value, "now") == 0;
  *sample = (struct gpm_sample){.used = true, .taken = true, .id = id};
  sample->elapsed = now ? (double)now_us() : gpm_number(entry, 0);
  for (size_t metric = 0; metric < GPM_METRICS; metric++) sample->counters[metric].rc = NOT_SUPPORTED;
  for (size_t next = 0; (entry = each(id, "gpm.active.", &next));) {
    unsigned long metric = strtoul(entry->key + strlen("gpm.active."), NULL, 10);
    if (metric >= GPM_METRICS) die("%s:%d: there is no GPM metric %lu", path, entry->line, metric);
    rc = failure(entry);
    bool untouched = strcmp(entry->value, "untouched") == 0;
    sample->counters[metric] = (struct gpm_counter){rc, untouched, rc || untouched ? 0 : gpm_number(entry, sample->elapsed)};
  }
  return OK;
}

API(nvmlGpmSampleGet, id_of(device), (Device device, void *handle), (device, handle)) {
  return take_gpm_sample(id_of(device), gpm_sample_of(handle, "taking"));
}

API(nvmlGpmMigSampleGet, id_of(device), (Device device, uint32_t gpu_instance, void *handle), (device, gpu_instance, handle)) {
  struct gpm_sample *sample = gpm_sample_of(handle, "taking");
  if (mig_of(id_of(device)) >= 0) return INVALID_ARGUMENT;
  for (int mig = 1; mig <= MAX_MIGS; mig++) {
    int id = id_of(device) + mig;
    uint32_t number;
    if (exists[id] && !get_u32(id, "gpu_instance_id", &number) && number == gpu_instance) return take_gpm_sample(id, sample);
  }
  return INVALID_ARGUMENT;
}

API(nvmlGpmMetricsGet, GLOBAL, (struct gpm_metrics_get *io), (io)) {
  if (!io || io->count < 1 || io->count > GPM_METRICS) return INVALID_ARGUMENT;
  if (io->version != 1) return VERSION_MISMATCH;
  const struct gpm_sample *older = gpm_sample_of(io->older, "comparing"), *newer = gpm_sample_of(io->newer, "comparing");
  if (!older->taken || !newer->taken || older->id != newer->id || newer->elapsed <= older->elapsed) return INVALID_ARGUMENT;
  for (uint32_t i = 0; i < io->count; i++) {
    struct gpm_metric *metric = &io->metrics[i];
    if (metric->id >= GPM_METRICS) {
      metric->rc = INVALID_ARGUMENT;
      continue;
    }
    const struct gpm_counter *from = &older->counters[metric->id], *to = &newer->counters[metric->id];
    if (to->untouched) continue;
    metric->rc = to->rc ? to->rc : from->rc;
    if (metric->rc == OK) metric->value = 100 * (to->active - from->active) / (newer->elapsed - older->elapsed);
  }
  return OK;
}

/* ---- MIG ---- */

DEVICE_TWO_U32(nvmlDeviceGetMigMode, "mig_mode.current", "mig_mode.pending")
DEVICE_U32(nvmlDeviceGetMaxMigDeviceCount, "max_mig_devices")
DEVICE_U32(nvmlDeviceGetGpuInstanceId, "gpu_instance_id")
DEVICE_U32(nvmlDeviceGetComputeInstanceId, "compute_instance_id")

API(nvmlDeviceGetMigDeviceHandleByIndex, id_of(device), (Device device, uint32_t index, Device *out), (device, index, out)) {
  int id = id_of(device);
  if (!out || mig_of(id) >= 0) return INVALID_ARGUMENT;
  uint32_t on = 0;
  if (get_u32(id, "mig_mode.current", &on) || !on) return NOT_SUPPORTED;
  if (index >= MAX_MIGS || !exists[id + 1 + (int)index]) return NOT_FOUND;
  *out = handle_of(id + 1 + (int)index);
  return OK;
}

API(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, id_of(device), (Device device, Device *out), (device, out)) {
  if (!out || mig_of(id_of(device)) < 0) return INVALID_ARGUMENT;
  *out = handle_of(id_of_gpu((uint32_t)gpu_of(id_of(device))));
  return OK;
}

API(nvmlDeviceIsMigDeviceHandle, id_of(device), (Device device, uint32_t *out), (device, out)) {
  if (!out) return INVALID_ARGUMENT;
  *out = mig_of(id_of(device)) >= 0;
  return OK;
}

API(nvmlDeviceGetAttributes_v2, id_of(device), (Device device, struct attributes *out), (device, out)) {
  if (!out) return INVALID_ARGUMENT;
  const struct entry *entry = find(id_of(device), "attributes");
  if (!entry) return NOT_SUPPORTED;
  int rc = failure(entry);
  if (rc) return rc;
  const char *at = entry->value;
  uint32_t *members = &out->multiprocessors;
  for (int i = 0; i < 8; i++) members[i] = (uint32_t)number_in(entry, &at);
  out->memory_mb = number_in(entry, &at);
  return OK;
}

/* ---- events ---- */

/* A set remembers what it has delivered, and what was in the scenario when it registered, by the events' ids. */
struct event_set {
  bool used;
  uint64_t types[MAX_GPUS];
  char **seen;
  size_t seen_count;
};
static struct event_set event_sets[16];

static struct event_set *set_of(EventSet handle) {
  for (size_t i = 0; i < sizeof event_sets / sizeof *event_sets; i++)
    if (&event_sets[i] == handle && event_sets[i].used) return &event_sets[i];
  return NULL;
}

static bool was_seen(const struct event_set *set, const char *event) {
  for (size_t i = 0; i < set->seen_count; i++)
    if (strcmp(set->seen[i], event) == 0) return true;
  return false;
}

static void mark_seen(struct event_set *set, const char *event) {
  set->seen = realloc(set->seen, (set->seen_count + 1) * sizeof *set->seen);
  if (!set->seen || !(set->seen[set->seen_count++] = strdup(event))) die("out of memory");
}

static struct event_data parse_event(const struct entry *entry, int *gpu) {
  unsigned long long xid;
  struct event_data data = {.type = EVENT_XID_CRITICAL, .gpu_instance = UINT32_MAX, .compute_instance = UINT32_MAX};
  int found = sscanf(entry->value, "gpu %d xid %llu gi %u ci %u", gpu, &xid, &data.gpu_instance, &data.compute_instance);
  if ((found != 2 && found != 4) || *gpu < 0 || *gpu >= MAX_GPUS) malformed(entry);
  data.data = xid;
  data.device = handle_of(id_of_gpu((uint32_t)*gpu));
  return data;
}

API(nvmlEventSetCreate, GLOBAL, (EventSet *out), (out)) {
  if (!out) return INVALID_ARGUMENT;
  for (size_t i = 0; i < sizeof event_sets / sizeof *event_sets; i++) {
    if (event_sets[i].used) continue;
    event_sets[i].used = true;
    return *out = &event_sets[i], OK;
  }
  die("more than 16 event sets: is one freed?");
}

API(nvmlEventSetFree, GLOBAL, (EventSet handle), (handle)) {
  struct event_set *set = set_of(handle);
  if (!set) return INVALID_ARGUMENT;
  for (size_t i = 0; i < set->seen_count; i++) free(set->seen[i]);
  free(set->seen);
  *set = (struct event_set){0};
  return OK;
}

DEVICE_U64(nvmlDeviceGetSupportedEventTypes, "event_types")

API(nvmlDeviceRegisterEvents, id_of(device), (Device device, uint64_t types, EventSet handle), (device, types, handle)) {
  struct event_set *set = set_of(handle);
  uint64_t supported = 0;
  int rc = get_u64(id_of(device), "event_types", &supported);
  if (!set || rc) return set ? rc : INVALID_ARGUMENT;
  if (types & ~supported) return NOT_SUPPORTED;
  set->types[gpu_of(id_of(device))] |= types;
  const struct entry *entry;
  for (size_t next = 0; (entry = each(GLOBAL, "event.", &next));) {
    int gpu;
    parse_event(entry, &gpu);
    if (gpu == gpu_of(id_of(device)) && !was_seen(set, entry->key)) mark_seen(set, entry->key);
  }
  return OK;
}

static int wait_for_event(EventSet handle, struct event_data *out, uint32_t timeout_ms) {
  int64_t deadline = now_us() + (int64_t)timeout_ms * 1000;
  for (;;) {
    struct event_set *set = set_of(handle); /* again each time: another thread may have freed it */
    if (!set || !out) return INVALID_ARGUMENT;
    const struct entry *entry, *first = NULL;
    for (size_t next = 0; (entry = each(GLOBAL, "event.", &next));) {
      int gpu;
      struct event_data data = parse_event(entry, &gpu);
      if (!(set->types[gpu] & data.type) || was_seen(set, entry->key)) continue;
      if (!first || entry->line < first->line) first = entry, *out = data;
    }
    if (first) return mark_seen(set, first->key), OK;
    if (now_us() >= deadline) return TIMEOUT;
    sleep_unlocked(2);
  }
}

API(nvmlEventSetWait_v2, GLOBAL, (EventSet set, struct event_data *out, uint32_t timeout_ms), (set, out, timeout_ms)) {
  return wait_for_event(set, out, timeout_ms);
}

API(nvmlEventSetWait, GLOBAL, (EventSet set, struct event_data_v1 *out, uint32_t timeout_ms), (set, out, timeout_ms)) {
  struct event_data data;
  int rc = out ? wait_for_event(set, &data, timeout_ms) : INVALID_ARGUMENT;
  if (!rc) *out = (struct event_data_v1){.device = data.device, .type = data.type, .data = data.data};
  return rc;
}
