/* unix_race ACT OWN OUTSIDER TIMES: the path of connect, or of bind, leads now to one's own socket, now to an outsider's.
   In the current directory, where the outsider listens too. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static atomic_int over, wanted;
static const char *act, *own, *outsider, *fresh = "fresh";
static pthread_mutex_t both = PTHREAD_MUTEX_INITIALIZER; /* held while a name stands for the other's socket */
static struct sockaddr_un address = {.sun_family = AF_UNIX};

static int is(const char *name)
{
    return !strcmp(act, name);
}

static void pause_a_little(void)
{
    for (volatile int i = 0; i < 200; i++)
        ;
}

static void *swap(void *unused)
{
    (void)unused;
    volatile char *first = address.sun_path;
    while (!atomic_load(&over)) {
        if (is("symlink")) {
            symlink(outsider, "led-new");
            rename("led-new", "led");
            symlink(own, "led-new");
            rename("led-new", "led");
        } else if (is("text")) {
            *first = 'F';
            pause_a_little();
            *first = 'O';
            pause_a_little();
        } else if (is("family")) {
            volatile sa_family_t *family = &address.sun_family;
            *family = AF_UNSPEC;
            *first = 'F';
            pause_a_little();
            *family = AF_UNIX;
            pause_a_little();
            *first = 'O';
            pause_a_little();
        } else if (is("bind")) {
            /* What was just bound gives way to the outsider's socket, and back. */
            pthread_mutex_lock(&both);
            if (!renameat2(AT_FDCWD, outsider, AT_FDCWD, fresh, RENAME_EXCHANGE))
                renameat2(AT_FDCWD, outsider, AT_FDCWD, fresh, RENAME_EXCHANGE);
            pthread_mutex_unlock(&both);
            do
                usleep(1); /* a mutex is not fair, nor is the lock of the directory */
            while (atomic_load(&wanted));
        } else {
            renameat2(AT_FDCWD, "led", AT_FDCWD, outsider, RENAME_EXCHANGE);
        }
    }
    return NULL;
}

static int listen_at(const char *path)
{
    struct sockaddr_un place = {.sun_family = AF_UNIX};
    strncpy(place.sun_path, path, sizeof place.sun_path - 1);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(server, (struct sockaddr *)&place, sizeof place) || listen(server, 64)) {
        close(server);
        return -1;
    }
    return server;
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    act = words[1];
    own = words[2];
    outsider = words[3];
    unlink(own);
    unlink("led");
    unlink(fresh);
    unlink("O");
    unlink("F");
    int server = listen_at(own);
    if (server < 0)
        return 3;
    symlink(own, "O");
    symlink(outsider, "F");
    if (is("relink"))
        link(own, "led");
    else
        symlink(own, "led");
    strcpy(address.sun_path, is("text") || is("family") ? "O" : is("bind") ? outsider : "led");
    pthread_t thread;
    if (pthread_create(&thread, NULL, swap, NULL))
        return 4;
    int reached = 0, wrong = 0, refused = 0, odd = 0;
    for (int i = 0; i < atoi(words[4]); i++) {
        if (is("bind")) {
            server = listen_at(fresh);
            if (server < 0)
                return 5;
        }
        int end = socket(AF_UNIX, SOCK_STREAM, 0);
        if (!connect(end, &address, sizeof address)) {
            int peer = accept(server, NULL, NULL);
            if (peer < 0 && address.sun_family == AF_UNIX && !is("family"))
                wrong++; /* connected, and not to us */
            else
                reached++, close(peer);
        } else {
            refused += errno == EACCES;
            odd += errno != EACCES;
        }
        close(end);
        if (is("bind")) {
            atomic_store(&wanted, 1);
            pthread_mutex_lock(&both);
            unlink(fresh);
            pthread_mutex_unlock(&both);
            atomic_store(&wanted, 0);
            close(server);
        }
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    printf("{\"errno\": 0, \"result\": {\"reached\": %d, \"refused\": %d, \"wrong\": %d, \"odd\": %d}}\n", reached, refused,
           wrong, odd);
    return 0;
}
