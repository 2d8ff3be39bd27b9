/* open_race ACT OWN FORBIDDEN TIMES: where an open for writing leads changes while it is being judged.
   OWN and FORBIDDEN are directories, each with a file named `file`. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_int over;
static char own[PATH_MAX], forbidden[PATH_MAX];
static char shown[] = "O/file";
static volatile struct open_how how = {.flags = O_WRONLY | O_APPEND};
static int slot, own_directory, forbidden_directory;
static const char *act, *own_name, *forbidden_name;

static int is(const char *name)
{
    return !strcmp(act, name);
}

static void *swap(void *unused)
{
    (void)unused;
    volatile char *first = shown;
    while (!atomic_load(&over)) {
        if (is("path") || is("flags")) {
            /* One byte decides, so that the path is always whole. */
            *first = 'F';
            how.flags = O_RDWR;
            for (volatile int i = 0; i < 50; i++)
                ;
            *first = 'O';
            how.flags = is("flags") ? O_RDONLY : O_WRONLY | O_APPEND;
            for (volatile int i = 0; i < 50; i++)
                ;
        } else if (is("descriptor")) {
            dup2(forbidden_directory, slot);
            dup2(own_directory, slot);
        } else {
            symlink(forbidden, "swapped-new");
            rename("swapped-new", "swapped");
            symlink(own, "swapped-new");
            rename("swapped-new", "swapped");
        }
    }
    return NULL;
}

static int open_once(void)
{
    if (is("descriptor"))
        return openat(slot, "file", O_WRONLY | O_APPEND);
    if (is("link"))
        return open("swapped/file", O_WRONLY | O_APPEND);
    if (is("flags"))
        return syscall(SYS_openat2, AT_FDCWD, shown, &how, sizeof how);
    return open(shown, O_WRONLY | O_APPEND);
}

int main(int count, char **words)
{
    if (count != 5)
        return 2;
    act = words[1];
    own_name = words[2];
    forbidden_name = words[3];
    snprintf(own, sizeof own, "%s", own_name);
    snprintf(forbidden, sizeof forbidden, "%s", forbidden_name);
    own_directory = open(own, O_PATH | O_DIRECTORY);
    forbidden_directory = open(forbidden, O_PATH | O_DIRECTORY);
    slot = dup(own_directory);
    unlink("O");
    unlink("F");
    unlink("swapped");
    if (slot < 0 || forbidden_directory < 0 || symlink(own, "O") || symlink(forbidden, "F") || symlink(own, "swapped"))
        return 3;
    pthread_t thread;
    if (pthread_create(&thread, NULL, swap, NULL))
        return 4;
    char place[64], found[PATH_MAX];
    int opened = 0, refused = 0, wrong = 0, odd = 0;
    for (int i = 0; i < atoi(words[4]); i++) {
        int file = open_once();
        if (file < 0) {
            refused += errno == EACCES;
            odd += errno != EACCES;
            continue;
        }
        opened++;
        snprintf(place, sizeof place, "/proc/self/fd/%d", file);
        ssize_t length = readlink(place, found, sizeof found - 1);
        found[length > 0 ? length : 0] = 0;
        wrong += strncmp(found, own, strlen(own)) != 0;
        close(file);
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    printf("{\"errno\": 0, \"result\": {\"opened\": %d, \"refused\": %d, \"wrong\": %d, \"odd\": %d}}\n", opened, refused,
           wrong, odd);
    return 0;
}
