/* connect_race ACT ALLOWED FORBIDDEN TIMES: a thread changes what connect was asked while it is being judged.
   ALLOWED and FORBIDDEN are ports on loopback. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} shown;
static in_port_t allowed, forbidden;
static atomic_int over, slot = -1, length;
static const char *act;
static int six;

static int is(const char *name)
{
    return !strcmp(act, name);
}

static void pause_a_little(void)
{
    for (volatile int i = 0; i < 60; i++)
        ;
}

static void *change(void *unused)
{
    (void)unused;
    volatile in_port_t *port = &shown.v4.sin_port; /* the same place in both */
    volatile sa_family_t *family = &shown.any.sa_family;
    volatile unsigned *host = six ? &shown.v6.sin6_addr.s6_addr32[3] : &shown.v4.sin_addr.s_addr;
    unsigned own = *host;
    int spare = socket(six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    while (!atomic_load(&over)) {
        int now = atomic_load(&slot);
        if (is("port")) {
            *port = forbidden;
            pause_a_little();
            *port = allowed;
            pause_a_little();
        } else if (is("host")) {
            *host = htonl(0x7f000002);
            pause_a_little();
            *host = own;
            pause_a_little();
        } else if (is("family")) {
            *family = AF_UNSPEC;
            *port = forbidden;
            pause_a_little();
            *family = six ? AF_INET6 : AF_INET;
            pause_a_little();
            *port = allowed;
            pause_a_little();
        } else if (is("length")) {
            /* The kernel takes the length from a register; what stands behind a short one must not count. */
            *port = forbidden;
            atomic_store(&length, 2);
            pause_a_little();
            atomic_store(&length, sizeof shown);
            *port = allowed;
            pause_a_little();
        } else if (is("descriptor")) {
            if (now >= 0) {
                dup2(local, now);
                dup2(spare, now);
            }
        } else {
            if (now >= 0)
                fcntl(now, F_SETFL, O_NONBLOCK);
            close(spare);
            spare = socket(AF_INET, SOCK_STREAM, 0);
        }
    }
    return NULL;
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    six = !strncmp(words[1], "v6 ", 3);
    act = words[1] + (six ? 3 : 0);
    allowed = htons(atoi(words[2]));
    forbidden = htons(atoi(words[3]));
    shown.any.sa_family = six ? AF_INET6 : AF_INET;
    shown.v4.sin_port = allowed;
    if (six)
        shown.v6.sin6_addr = in6addr_loopback;
    else
        shown.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (six && is("host")) /* v4-mapped: its last word is the IPv4 address */
        inet_pton(AF_INET6, "::ffff:127.0.0.1", &shown.v6.sin6_addr);
    atomic_store(&length, six ? sizeof shown.v6 : sizeof shown.v4);
    pthread_t thread;
    if (pthread_create(&thread, NULL, change, NULL))
        return 3;
    int reached = 0, wrong = 0, refused = 0, odd = 0;
    for (int i = 0; i < atoi(words[4]); i++) {
        int end = socket(shown.any.sa_family == AF_INET6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in6 peer;
        socklen_t peer_length = sizeof peer;
        atomic_store(&slot, end);
        int failed = connect(end, &shown.any, atomic_load(&length)) ? errno : 0;
        refused += failed == EACCES;
        odd += failed && failed != EACCES;
        if (!getpeername(end, (struct sockaddr *)&peer, &peer_length) && peer.sin6_family != AF_UNIX) {
            reached++;
            struct sockaddr_in *four = (struct sockaddr_in *)&peer;
            unsigned host = peer.sin6_family == AF_INET ? four->sin_addr.s_addr : peer.sin6_addr.s6_addr32[3];
            wrong += four->sin_port != allowed || host == htonl(0x7f000002);
        }
        atomic_store(&slot, -1);
        /* Reset instead of waiting: thousands of connections would use up the ports. */
        struct linger now = {1, 0};
        setsockopt(end, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(end);
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    printf("{\"errno\": 0, \"result\": {\"reached\": %d, \"refused\": %d, \"wrong\": %d, \"odd\": %d}}\n", reached, refused,
           wrong, odd);
    return 0;
}
