// How lwIP is built: IPv4 with TCP, UDP, DHCP and DNS, no threads, sized for a gateway with a handful of connections
// (about 60 KiB, outside the Python heap).

#ifndef TIDEGATE_LWIPOPTS_H
#define TIDEGATE_LWIPOPTS_H

#include <stdint.h>

// All of lwIP runs in one context (network_lan.c), so nothing needs protecting.
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_NETCONN 0
#define LWIP_SOCKET 0
#define LWIP_STATS 0
#define LWIP_TESTMODE 1 // MicroPython walks the list of timeouts from 1.26 on

#define LWIP_ARP 1
#define LWIP_ETHERNET 1
#define LWIP_RAW 1
#define LWIP_IGMP 1
#define LWIP_IPV6 0
#define LWIP_DHCP 1
#define LWIP_DHCP_DOES_ACD_CHECK 0 // probing for address conflicts takes seconds
#define LWIP_DNS 1
#define LWIP_NETIF_HOSTNAME 1

#define SO_REUSE 1
#define LWIP_TCP_KEEPALIVE 1
#define TCP_LISTEN_BACKLOG 1

#define MEM_ALIGNMENT 4
#define MEM_SIZE (16 * 1024)
#define TCP_MSS 1460
#define TCP_WND (4 * TCP_MSS)
#define TCP_SND_BUF (4 * TCP_MSS)
#define MEMP_NUM_TCP_SEG 32
#define MEMP_NUM_TCP_PCB 8
#define MEMP_NUM_UDP_PCB 6
#define PBUF_POOL_SIZE 16

// After a reset the peer may still know the connections of before: neither port nor sequence number may repeat.
#define LWIP_RANDOMIZE_INITIAL_LOCAL_PORTS 1
#define LWIP_RAND() random_u32()
uint32_t random_u32(void);

#endif
