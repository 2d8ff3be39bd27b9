/* unix_bind_race DIRECTORY NAME TIMES: one's own socket is bound, and its directory is exchanged for an outsider's.

   A thread exchanges them as soon as the socket is there, so that whoever looks at the path again finds the outsider's
   socket; another writes to every descriptor that a connect is tried on, in case it was connected before it was judged. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define OTHERS 450 /* sockets of one's own: looking at them all takes time */

static char path[108];
static atomic_int armed, over;
static atomic_int end = -1, wrote;

static void exchange(void)
{
    renameat2(AT_FDCWD, "raced", AT_FDCWD, "link", RENAME_EXCHANGE);
}

static void *swap(void *unused)
{
    struct stat found;
    (void)unused;
    while (!atomic_load(&over))
        if (atomic_load(&armed) && !lstat(path, &found)) {
            exchange();
            atomic_store(&armed, 0);
        }
    return NULL;
}

static void *write_early(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        int now = atomic_load(&end);
        if (now >= 0 && send(now, "hello", 5, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            atomic_fetch_add(&wrote, 1);
    }
    return NULL;
}

static struct sockaddr_un named(const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, name, sizeof address.sun_path - 1);
    return address;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    snprintf(path, sizeof path, "raced/%s", words[2]);
    mkdir("raced", 0700);
    mkdir("others", 0700);
    if (symlink(words[1], "link"))
        return 3;
    for (int i = 0; i < OTHERS; i++) {
        char name[32];
        snprintf(name, sizeof name, "others/%d", i);
        struct sockaddr_un address = named(name);
        int other = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(other, (struct sockaddr *)&address, sizeof address))
            return 4;
        close(other);
    }
    pthread_t one, two;
    if (pthread_create(&one, NULL, swap, NULL) || pthread_create(&two, NULL, write_early, NULL))
        return 5;
    int connected = 0;
    for (int i = 0; i < atoi(words[3]); i++) {
        struct sockaddr_un address = named(path);
        struct stat found;
        int server = socket(AF_UNIX, SOCK_STREAM, 0);
        atomic_store(&armed, 1);
        bind(server, (struct sockaddr *)&address, sizeof address);
        for (int spin = 0; spin < 100000 && atomic_load(&armed); spin++)
            ;
        atomic_store(&armed, 0);
        for (int turn = 0; turn < 4; turn++) {
            int client = socket(AF_UNIX, SOCK_STREAM, 0);
            atomic_store(&end, client);
            if (!connect(client, (struct sockaddr *)&address, sizeof address))
                connected++; /* the server never listens, so this can only be the outsider */
            usleep(50);
            atomic_store(&end, -1);
            close(client);
        }
        if (!lstat("raced", &found) && S_ISLNK(found.st_mode))
            exchange();
        unlink(path);
        close(server);
    }
    atomic_store(&over, 1);
    pthread_join(one, NULL);
    pthread_join(two, NULL);
    return connected || atomic_load(&wrote) ? 1 : 0;
}
