// network.LAN: lwIP over the Ethernet controller, with DHCP.
//
// lwIP is not reentrant and runs in one place only: poll(), which MicroPython's scheduler calls between bytecodes and
// while Python waits. The Ethernet interrupt and the clock schedule it.

#include <string.h>

#include "py/mphal.h"
#include "py/runtime.h"
#include "extmod/modnetwork.h"

#include "lwip/dhcp.h"
#include "lwip/etharp.h"
#include "lwip/init.h"
#include "lwip/netif.h"
#include "lwip/snmp.h"
#include "lwip/timeouts.h"
#include "netif/ethernet.h"

#include "board.h"

#define POLL_MS (50) // between two looks at lwIP's timers; the finest of them has 100 ms

// status(), as other MicroPython ports number it
#define STATUS_DOWN (0)
#define STATUS_NO_ADDRESS (2)
#define STATUS_CONNECTED (3)

typedef struct {
    mp_obj_base_t base;
} network_lan_obj_t;

extern const mp_obj_type_t network_lan_type;
static const network_lan_obj_t network_lan = { { &network_lan_type } };

static struct netif netif;
static struct dhcp dhcp;
static bool active;
static mp_sched_node_t poll_node;
static uint32_t received[LAN_FRAME_MAX / 4];
static uint32_t sent[LAN_FRAME_MAX / 4];

u32_t sys_now(void) {
    return (u32_t)mp_hal_ticks_ms();
}

static err_t send_frame(struct netif *to, struct pbuf *packet) {
    if (packet->tot_len > LAN_FRAME_MAX) {
        return ERR_BUF;
    }
    pbuf_copy_partial(packet, sent, packet->tot_len, 0);
    return lan_send(sent, packet->tot_len) ? ERR_OK : ERR_BUF;
}

static err_t netif_start(struct netif *self) {
    self->name[0] = 'e';
    self->name[1] = '0';
    self->linkoutput = send_frame;
    self->output = etharp_output;
    self->mtu = 1500;
    self->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_ETHERNET | NETIF_FLAG_IGMP;
    self->hwaddr_len = 6;
    lan_mac(self->hwaddr);
    return ERR_OK;
}

static void poll(mp_sched_node_t *node) {
    if (!active) {
        return;
    }
    for (size_t length; (length = lan_receive(received)) > 0;) {
        struct pbuf *packet = pbuf_alloc(PBUF_RAW, (u16_t)length, PBUF_POOL);
        if (packet == NULL) {
            continue; // out of buffers: the frame is lost, as on a wire, and its sender will repeat it
        }
        pbuf_take(packet, received, (u16_t)length);
        if (netif.input(packet, &netif) != ERR_OK) {
            pbuf_free(packet);
        }
    }
    sys_check_timeouts();
    clock_wake(); // a socket may have become ready
}

static void schedule_poll(void) {
    if (active) {
        mp_sched_schedule_node(&poll_node, poll);
    }
}

// lwIP's timers cannot be set up twice, so this runs once after a hard reset; a soft reset keeps the interface.
void network_init(void) {
    lwip_init();
    clock_call_every(POLL_MS, schedule_poll);
}

static void start(void) {
    if (active) {
        return;
    }
    netif_add(&netif, IP4_ADDR_ANY4, IP4_ADDR_ANY4, IP4_ADDR_ANY4, NULL, netif_start, ethernet_input);
    netif_set_hostname(&netif, mod_network_hostname_data);
    netif_set_default(&netif);
    dhcp_set_struct(&netif, &dhcp);
    lan_start(schedule_poll);
    active = true;
    netif_set_up(&netif);
    netif_set_link_up(&netif);
    dhcp_start(&netif);
}

static void stop(void) {
    if (!active) {
        return;
    }
    dhcp_release_and_stop(&netif);
    netif_remove(&netif);
    active = false;
    lan_stop();
}

static int status(void) {
    if (!active) {
        return STATUS_DOWN;
    }
    return ip4_addr_isany(netif_ip4_addr(&netif)) ? STATUS_NO_ADDRESS : STATUS_CONNECTED;
}

static void lan_print(const mp_print_t *print, mp_obj_t self, mp_print_kind_t kind) {
    mp_printf(print, "<LAN status=%d ip=%s>", status(), ip4addr_ntoa(netif_ip4_addr(&netif)));
}

static mp_obj_t lan_make_new(const mp_obj_type_t *type, size_t n_args, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n_args, n_kw, 0, 0, false);
    mod_network_register_nic(MP_OBJ_FROM_PTR(&network_lan));
    return MP_OBJ_FROM_PTR(&network_lan);
}

static mp_obj_t lan_active(size_t n_args, const mp_obj_t *args) {
    if (n_args == 1) {
        return mp_obj_new_bool(active);
    }
    if (mp_obj_is_true(args[1])) {
        start();
    } else {
        stop();
    }
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(lan_active_obj, 1, 2, lan_active);

static mp_obj_t lan_isconnected(mp_obj_t self) {
    return mp_obj_new_bool(status() == STATUS_CONNECTED);
}
static MP_DEFINE_CONST_FUN_OBJ_1(lan_isconnected_obj, lan_isconnected);

static mp_obj_t lan_status(mp_obj_t self) {
    return MP_OBJ_NEW_SMALL_INT(status());
}
static MP_DEFINE_CONST_FUN_OBJ_1(lan_status_obj, lan_status);

static void require_active(void) {
    if (!active) {
        mp_raise_msg(&mp_type_OSError, MP_ERROR_TEXT("the interface is not active"));
    }
}

static mp_obj_t lan_ifconfig(size_t n_args, const mp_obj_t *args) {
    require_active();
    return mod_network_nic_ifconfig(&netif, n_args - 1, args + 1);
}
static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(lan_ifconfig_obj, 1, 2, lan_ifconfig);

static mp_obj_t lan_ipconfig(size_t n_args, const mp_obj_t *args, mp_map_t *kwargs) {
    require_active();
    return mod_network_nic_ipconfig(&netif, n_args - 1, args + 1, kwargs);
}
static MP_DEFINE_CONST_FUN_OBJ_KW(lan_ipconfig_obj, 1, lan_ipconfig);

static mp_obj_t lan_config(mp_obj_t self, mp_obj_t name) {
    if (mp_obj_str_get_qstr(name) != MP_QSTR_mac) {
        mp_raise_ValueError(MP_ERROR_TEXT("unknown config param"));
    }
    uint8_t mac[6];
    lan_mac(mac);
    return mp_obj_new_bytes(mac, sizeof(mac));
}
static MP_DEFINE_CONST_FUN_OBJ_2(lan_config_obj, lan_config);

static const mp_rom_map_elem_t lan_locals_table[] = {
    { MP_ROM_QSTR(MP_QSTR_active), MP_ROM_PTR(&lan_active_obj) },
    { MP_ROM_QSTR(MP_QSTR_isconnected), MP_ROM_PTR(&lan_isconnected_obj) },
    { MP_ROM_QSTR(MP_QSTR_status), MP_ROM_PTR(&lan_status_obj) },
    { MP_ROM_QSTR(MP_QSTR_ifconfig), MP_ROM_PTR(&lan_ifconfig_obj) },
    { MP_ROM_QSTR(MP_QSTR_ipconfig), MP_ROM_PTR(&lan_ipconfig_obj) },
    { MP_ROM_QSTR(MP_QSTR_config), MP_ROM_PTR(&lan_config_obj) },
};
static MP_DEFINE_CONST_DICT(lan_locals, lan_locals_table);

MP_DEFINE_CONST_OBJ_TYPE(
    network_lan_type, MP_QSTR_LAN, MP_TYPE_FLAG_NONE,
    make_new, lan_make_new, print, lan_print, locals_dict, &lan_locals);
