/* connect_race ACT ALLOWED FORBIDDEN TIMES: a thread changes what connect was asked while it is being judged. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in shown, allowed, forbidden;
static atomic_int over;
static atomic_int slot = -1;
static const char *act;

static void *change(void *unused)
{
    (void)unused;
    volatile unsigned short *port = &shown.sin_port;
    volatile unsigned short *family = &shown.sin_family;
    int spare = socket(AF_INET, SOCK_STREAM, 0);
    int local = socket(AF_UNIX, SOCK_STREAM, 0);
    while (!atomic_load(&over)) {
        if (!strcmp(act, "address")) {
            *port = forbidden.sin_port;
            for (volatile int i = 0; i < 20; i++)
                ;
            *port = allowed.sin_port;
        } else if (!strcmp(act, "family")) {
            *family = AF_UNSPEC;
            *port = forbidden.sin_port;
            *family = AF_INET;
            for (volatile int i = 0; i < 20; i++)
                ;
            *port = allowed.sin_port;
        } else if (!strcmp(act, "descriptor")) {
            int now = atomic_load(&slot);
            if (now >= 0) {
                dup2(local, now);
                dup2(spare, now);
            }
        } else {
            int now = atomic_load(&slot);
            if (now >= 0)
                fcntl(now, F_SETFL, O_NONBLOCK);
            close(spare);
            spare = socket(AF_INET, SOCK_STREAM, 0);
        }
    }
    return NULL;
}

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    act = words[1];
    allowed = loopback(atoi(words[2]));
    forbidden = loopback(atoi(words[3]));
    shown = allowed;
    pthread_t thread;
    if (pthread_create(&thread, NULL, change, NULL))
        return 3;
    int reached = 0;
    for (int i = 0; i < atoi(words[4]); i++) {
        int end = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        struct sockaddr_in peer;
        socklen_t length = sizeof peer;
        atomic_store(&slot, end);
        connect(end, (struct sockaddr *)&shown, sizeof shown);
        if (!getpeername(end, (struct sockaddr *)&peer, &length) && peer.sin_family == AF_INET &&
            peer.sin_port == forbidden.sin_port)
            reached++;
        atomic_store(&slot, -1);
        /* Reset instead of waiting: thousands of connections would use up the ports. */
        struct linger now = {1, 0};
        setsockopt(end, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        close(end);
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    return reached ? 1 : 0;
}
