/* exec_race FIRST SECOND TIMES: a thread swaps the path while execve is being judged. Prints which one really ran. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char shown[PATH_MAX];
static const char *first, *second;

static void *swap(void *unused)
{
    (void)unused;
    for (;;) {
        strcpy(shown, second);
        strcpy(shown, first);
    }
    return NULL;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    first = words[1];
    second = words[2];
    char *vector[] = {"raced", NULL}, *empty[] = {NULL};
    for (int i = 0; i < atoi(words[3]); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            strcpy(shown, first);
            if (pthread_create(&thread, NULL, swap, NULL))
                _exit(3);
            for (;;) {
                execve(shown, vector, empty);
                /* Half a path, or one that is refused: again. */
            }
        }
        int status;
        waitpid(pid, &status, 0);
        printf("%d %d\n", pid, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    return 0;
}
