/* open_race OWN FORBIDDEN TIMES: the path of an open for writing changes while it is being judged. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_int over;
static char shown[PATH_MAX];
static const char *own, *forbidden;

static void *swap(void *unused)
{
    (void)unused;
    while (!atomic_load(&over)) {
        strcpy(shown, forbidden);
        strcpy(shown, own);
    }
    return NULL;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    own = words[1];
    forbidden = words[2];
    strcpy(shown, own);
    pthread_t thread;
    if (pthread_create(&thread, NULL, swap, NULL))
        return 3;
    char place[64], found[PATH_MAX];
    int wrong = 0;
    for (int i = 0; i < atoi(words[3]); i++) {
        int file = open(shown, O_WRONLY | O_APPEND);
        if (file < 0)
            continue;
        snprintf(place, sizeof place, "/proc/self/fd/%d", file);
        ssize_t length = readlink(place, found, sizeof found - 1);
        if (length > 0) {
            found[length] = 0;
            wrong += !strcmp(found, forbidden);
        }
        if (write(file, "x", 1) != 1)
            wrong++;
        close(file);
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    return wrong ? 1 : 0;
}
