/*
 * What a test does to the system that a process lives in, as a library for LD_PRELOAD: the wall clock is set, the resolver
 * fails or hangs. SYSTEM_FAULTS names a file of two 64-bit integers, which the test changes while the process runs:
 *   0  seconds that are added to the wall clock; the monotonic clock goes on as it does when an administrator sets the time
 *   1  the resolver: 0 = every name below .faulty.test is 127.0.0.1, 1 = lookups of them fail, 2 = they hang
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { RESOLVER_FAILS = 1, RESOLVER_HANGS = 2 };

struct faults {
  _Atomic int64_t clock_offset_seconds, resolver;
};

static struct faults none;
static struct faults *faults = &none;
static int (*next_clock_gettime)(clockid_t, struct timespec *);
static int (*next_gettimeofday)(struct timeval *, void *);
static int (*next_getaddrinfo)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((constructor)) static void open_faults(void) {
  next_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
  next_gettimeofday = dlsym(RTLD_NEXT, "gettimeofday");
  next_getaddrinfo = dlsym(RTLD_NEXT, "getaddrinfo");
  const char *path = getenv("SYSTEM_FAULTS");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *faults, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) faults = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (!next_clock_gettime) open_faults(); /* another library's constructor ran first */
  int result = next_clock_gettime(clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += faults->clock_offset_seconds;
  return result;
}

int gettimeofday(struct timeval *now, void *zone) {
  if (!next_gettimeofday) open_faults();
  int result = next_gettimeofday(now, zone);
  if (result == 0) now->tv_sec += faults->clock_offset_seconds;
  return result;
}

static int is_faulty(const char *name) {
  static const char suffix[] = ".faulty.test";
  size_t length = name ? strlen(name) : 0;
  return length >= sizeof suffix && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result) {
  if (!is_faulty(name)) return next_getaddrinfo(name, service, hints, result);
  while (faults->resolver == RESOLVER_HANGS) usleep(1000);
  if (faults->resolver == RESOLVER_FAILS) return EAI_AGAIN;
  return next_getaddrinfo("127.0.0.1", service, hints, result);
}
