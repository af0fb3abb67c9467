/*
 * The part of NVML's binary interface that the fake library speaks, written from tables of sizes and
 * offsets (64-bit Linux); not NVIDIA's nvml.h. The assertions at the end are those tables.
 */
#ifndef FAKE_NVML_ABI_H
#define FAKE_NVML_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef void *Device; /* opaque, passed by value */
typedef void *EventSet;

enum {
  OK = 0,
  UNINITIALIZED = 1,
  INVALID_ARGUMENT = 2,
  NOT_SUPPORTED = 3,
  NOT_FOUND = 6,
  INSUFFICIENT_SIZE = 7,
  TIMEOUT = 10,
  VERSION_MISMATCH = 25,
};

enum { EVENT_XID_CRITICAL = 0x8 };

enum { TYPE_DOUBLE, TYPE_U32, TYPE_ULONG, TYPE_U64, TYPE_I64, TYPE_I32, TYPE_U16 };

/* A versioned struct carries its own size and a version number in its first word. */
#define VERSIONED(type, version) ((uint32_t)sizeof(type) | ((uint32_t)(version) << 24))

struct memory { uint64_t total, free, used; };
struct memory_v2 { uint32_t version; uint64_t total, reserved, free, used; };
struct bar1 { uint64_t total, free, used; };
struct utilization { uint32_t gpu, memory; };
struct process_v1 { uint32_t pid; uint64_t memory; };
struct process_v2 { uint32_t pid; uint64_t memory; uint32_t gpu_instance, compute_instance; };
struct process_v3_wide { uint32_t pid; uint64_t memory; uint32_t gpu_instance, compute_instance; uint64_t cc_protected; };
struct process_sample { uint32_t pid; uint64_t timestamp; uint32_t sm, memory, encoder, decoder; };
struct process_utilization {
  uint64_t timestamp;
  uint32_t pid, sm, memory, encoder, decoder, jpeg, ofa;
};
struct processes_utilization { uint32_t version, count; uint64_t last_seen; struct process_utilization *rows; };
union value { double d; uint32_t u32; uint64_t u64; int64_t i64; int32_t i32; uint16_t u16; };
struct field_value {
  uint32_t field, scope;
  int64_t timestamp, latency_usec;
  uint32_t type;
  int32_t rc;
  union value value;
};
struct pci_info {
  char legacy_bus_id[16];
  uint32_t domain, bus, device, device_id, subsystem_id;
  char bus_id[32];
};
struct event_data_v1 { Device device; uint64_t type, data; };
struct event_data { Device device; uint64_t type, data; uint32_t gpu_instance, compute_instance; };
struct temperature { uint32_t version, sensor; int32_t temperature; };
struct margin_temperature { uint32_t version; int32_t margin; };
struct attributes {
  uint32_t multiprocessors, copy_engines, decoders, encoders, jpegs, ofas, gpu_slices, compute_slices;
  uint64_t memory_mb;
};

struct gpm_support { uint32_t version, supported; };
struct gpm_metric { uint32_t id; int32_t rc; double value; const char *short_name, *long_name, *unit; };
enum { GPM_METRICS = 333 }; /* 98 in older headers; only the first `count` entries are touched */
struct gpm_metrics_get { uint32_t version, count; void *older, *newer; struct gpm_metric metrics[GPM_METRICS]; };

#define SIZE(type, size) _Static_assert(sizeof(struct type) == (size), "size of " #type)
#define AT(type, member, offset) \
  _Static_assert(offsetof(struct type, member) == (offset), "offset of " #type "." #member)

_Static_assert(sizeof(Device) == 8 && sizeof(int) == 4, "64-bit only");
_Static_assert(sizeof(union value) == 8, "size of value");
SIZE(memory, 24); AT(memory, total, 0); AT(memory, free, 8); AT(memory, used, 16);
SIZE(memory_v2, 40); AT(memory_v2, version, 0); AT(memory_v2, total, 8); AT(memory_v2, reserved, 16);
AT(memory_v2, free, 24); AT(memory_v2, used, 32);
_Static_assert(VERSIONED(struct memory_v2, 2) == 0x02000028, "version word of memory_v2");
SIZE(bar1, 24); AT(bar1, total, 0); AT(bar1, free, 8); AT(bar1, used, 16);
SIZE(utilization, 8); AT(utilization, gpu, 0); AT(utilization, memory, 4);
SIZE(process_v1, 16); AT(process_v1, pid, 0); AT(process_v1, memory, 8);
SIZE(process_v2, 24); AT(process_v2, pid, 0); AT(process_v2, memory, 8);
AT(process_v2, gpu_instance, 16); AT(process_v2, compute_instance, 20);
SIZE(process_v3_wide, 32); AT(process_v3_wide, pid, 0); AT(process_v3_wide, memory, 8);
AT(process_v3_wide, gpu_instance, 16); AT(process_v3_wide, compute_instance, 20);
AT(process_v3_wide, cc_protected, 24);
SIZE(process_sample, 32); AT(process_sample, pid, 0); AT(process_sample, timestamp, 8);
AT(process_sample, sm, 16); AT(process_sample, memory, 20); AT(process_sample, encoder, 24);
AT(process_sample, decoder, 28);
SIZE(process_utilization, 40); AT(process_utilization, timestamp, 0); AT(process_utilization, pid, 8);
AT(process_utilization, sm, 12); AT(process_utilization, memory, 16); AT(process_utilization, encoder, 20);
AT(process_utilization, decoder, 24); AT(process_utilization, jpeg, 28); AT(process_utilization, ofa, 32);
SIZE(processes_utilization, 24); AT(processes_utilization, version, 0); AT(processes_utilization, count, 4);
AT(processes_utilization, last_seen, 8); AT(processes_utilization, rows, 16);
_Static_assert(VERSIONED(struct processes_utilization, 1) == 0x01000018, "version word of processes_utilization");
SIZE(field_value, 40); AT(field_value, field, 0); AT(field_value, scope, 4); AT(field_value, timestamp, 8);
AT(field_value, latency_usec, 16); AT(field_value, type, 24); AT(field_value, rc, 28); AT(field_value, value, 32);
SIZE(pci_info, 68); AT(pci_info, legacy_bus_id, 0); AT(pci_info, domain, 16); AT(pci_info, bus, 20);
AT(pci_info, device, 24); AT(pci_info, device_id, 28); AT(pci_info, subsystem_id, 32); AT(pci_info, bus_id, 36);
SIZE(event_data_v1, 24); AT(event_data_v1, device, 0); AT(event_data_v1, type, 8); AT(event_data_v1, data, 16);
SIZE(event_data, 32); AT(event_data, device, 0); AT(event_data, type, 8); AT(event_data, data, 16);
AT(event_data, gpu_instance, 24); AT(event_data, compute_instance, 28);
SIZE(temperature, 12); AT(temperature, version, 0); AT(temperature, sensor, 4); AT(temperature, temperature, 8);
_Static_assert(VERSIONED(struct temperature, 1) == 0x0100000c, "version word of temperature");
SIZE(margin_temperature, 8); AT(margin_temperature, version, 0); AT(margin_temperature, margin, 4);
_Static_assert(VERSIONED(struct margin_temperature, 1) == 0x01000008, "version word of margin_temperature");
SIZE(attributes, 40); AT(attributes, multiprocessors, 0); AT(attributes, copy_engines, 4);
AT(attributes, decoders, 8); AT(attributes, encoders, 12); AT(attributes, jpegs, 16); AT(attributes, ofas, 20);
AT(attributes, gpu_slices, 24); AT(attributes, compute_slices, 28); AT(attributes, memory_mb, 32);
SIZE(gpm_support, 8); AT(gpm_support, version, 0); AT(gpm_support, supported, 4);
SIZE(gpm_metric, 40); AT(gpm_metric, id, 0); AT(gpm_metric, rc, 4); AT(gpm_metric, value, 8); AT(gpm_metric, short_name, 16);
SIZE(gpm_metrics_get, 13344); AT(gpm_metrics_get, count, 4); AT(gpm_metrics_get, older, 8);
AT(gpm_metrics_get, newer, 16); AT(gpm_metrics_get, metrics, 24);

#endif
