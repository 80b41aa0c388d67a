// What this build of MicroPython can do: the "extra features" level, as on most boards with a network, plus what the
// hardware brings.

#include <alloca.h>
#include <stdint.h>

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

// Code: bytecode, native and viper functions, and .mpy files with machine code.
#define MICROPY_PERSISTENT_CODE_LOAD (1)
#define MICROPY_EMIT_THUMB (1)
#define MICROPY_EMIT_INLINE_THUMB (1)
#define MICROPY_MAKE_POINTER_CALLABLE(p) ((void *)((mp_uint_t)(p) | 1))

// Memory.
#define MICROPY_ENABLE_GC (1)
#define MICROPY_STACK_CHECK_MARGIN (1024)
#define MICROPY_ENABLE_EMERGENCY_EXCEPTION_BUF (1)
#define MICROPY_EMERGENCY_EXCEPTION_BUF_SIZE (256)

// Numbers.
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_FLOAT)

// The REPL and the scheduler.
#define MICROPY_HELPER_REPL (1)
#define MICROPY_REPL_INFO (1)
#define MICROPY_SCHEDULER_STATIC_NODES (1)
#define MICROPY_ENABLE_SCHEDULER (1)

// Files.
#define MICROPY_READER_VFS (1)
#define MICROPY_VFS (1)
#define MICROPY_VFS_ROM (1)
#define MICROPY_VFS_ROM_IOCTL (1)

// Modules.
#define MICROPY_PY_SYS_PLATFORM "mps2"
#define MICROPY_PY_HASHLIB_SHA1 (1) // for a device's ids (UUIDs of version 5)
#define MICROPY_PY_OS_INCLUDEFILE "src/modos.c"
#define MICROPY_PY_OS_URANDOM (1)
#define MICROPY_PY_OS_UNAME (1)
#define MICROPY_PY_RANDOM_SEED_INIT_FUNC (random_u32())
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)
#define MICROPY_PY_TIME_TIME_TIME_NS (1)
#define MICROPY_PY_TIME_INCLUDEFILE "src/modtime.c"
#define MICROPY_PY_MACHINE (1)
#define MICROPY_PY_MACHINE_INCLUDEFILE "src/modmachine.c"
#define MICROPY_PY_MACHINE_RESET (1)
#define MICROPY_PY_MACHINE_MEMX (1)
#define MICROPY_PY_MACHINE_DISABLE_IRQ_ENABLE_IRQ (1)
#define MICROPY_PY_MACHINE_WDT (1)
#define MICROPY_PY_MACHINE_WDT_INCLUDEFILE "src/wdt.c"
#define MICROPY_PY_FRAMEBUF (0)

// The network.
#define MICROPY_PY_LWIP (1)
#define MICROPY_PY_LWIP_SOCK_RAW (1) // for pings, as on real boards
#define MICROPY_PY_SOCKET (1)
#define MICROPY_PY_NETWORK (1)
#define MICROPY_PY_NETWORK_HOSTNAME_DEFAULT "mps2"
#define MICROPY_PORT_NETWORK_INTERFACES { MP_ROM_QSTR(MP_QSTR_LAN), MP_ROM_PTR(&network_lan_type) },
// TLS: mbedtls, as mbedtls_config.h and tls.c say; the Makefile sets MICROPY_PY_SSL.
#define MICROPY_PY_CRYPTOLIB (0)
#define MICROPY_TRACKED_ALLOC (!TIDEGATE_TLS_ARENA)
// lwIP runs in one context only (network_lan.c).
#define MICROPY_PY_LWIP_ENTER
#define MICROPY_PY_LWIP_REENTER
#define MICROPY_PY_LWIP_EXIT

#define MICROPY_HW_BOARD_NAME "MPS2-AN" MP_STRINGIFY(MPS2_NOTE) " (QEMU)"
#if MPS2_NOTE == 500
#define MICROPY_HW_MCU_NAME "Cortex-M7F"
#elif MPS2_NOTE == 386
#define MICROPY_HW_MCU_NAME "Cortex-M4F"
#else
#define MICROPY_HW_MCU_NAME "Cortex-M3"
#endif

// Types and linkage.
#define MP_SSIZE_MAX (0x7fffffff)
#define UINT_FMT "%lu"
#define INT_FMT "%ld"
typedef int32_t mp_int_t;
typedef uint32_t mp_uint_t;
typedef long mp_off_t;
#define MP_NEED_LOG2 (1)
#define MP_STATE_PORT MP_STATE_VM

uint32_t random_u32(void);
extern const struct _mp_obj_type_t network_lan_type;
