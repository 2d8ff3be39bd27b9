/* unix_race OWN OUTSIDER TIMES: the path of connect leads now to one's own socket, now to an outsider's. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static atomic_int over;
static const char *own, *outsider;

static void *swap(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        symlink(outsider, "raced-new");
        rename("raced-new", "raced");
        symlink(own, "raced-new");
        rename("raced-new", "raced");
    }
    return NULL;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    own = words[1];
    outsider = words[2];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, own, sizeof address.sun_path - 1);
    unlink(own);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(server, (struct sockaddr *)&address, sizeof address) || listen(server, 64))
        return 3;
    symlink(own, "raced");
    strcpy(address.sun_path, "raced");
    pthread_t thread;
    if (pthread_create(&thread, NULL, swap, NULL))
        return 4;
    int wrong = 0;
    for (int i = 0; i < atoi(words[3]); i++) {
        int end = socket(AF_UNIX, SOCK_STREAM, 0);
        if (!connect(end, (struct sockaddr *)&address, sizeof address)) {
            int peer = accept(server, NULL, NULL);
            if (peer < 0)
                wrong++; /* connected, and not to us */
            else
                close(peer);
        }
        close(end);
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    return wrong ? 1 : 0;
}
