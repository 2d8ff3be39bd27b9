/* exec_race FIRST SECOND TIMES: a thread swaps the path, an argument and the environment while execve is being judged.
   Prints, for each child, its pid and how it ended: by that exit_with.c says what it was. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char shown[] = "1st", word[] = "a";
static char *volatile vector[] = {"raced", word, NULL};
static char *volatile environment[] = {"WHICH=a", NULL};

static void *swap(void *unused)
{
    (void)unused;
    volatile char *path = shown, *argument = word;
    for (;;) {
        /* One byte decides, so that the path is always whole; out of step, so that all four can be met. */
        *path = '2';
        environment[0] = "WHICH=b";
        *argument = 'b';
        vector[1] = word;
        for (volatile int i = 0; i < 100; i++)
            ;
        *path = '1';
        for (volatile int i = 0; i < 100; i++)
            ;
        environment[0] = "WHICH=a";
        *argument = 'a';
        *path = '2';
        for (volatile int i = 0; i < 100; i++)
            ;
        *path = '1';
        vector[1] = "a";
        for (volatile int i = 0; i < 100; i++)
            ;
    }
    return NULL;
}

int main(int count, char **words)
{
    if (count != 4)
        return 2;
    unlink("1st");
    unlink("2st");
    if (symlink(words[1], "1st") || symlink(words[2], "2st"))
        return 3;
    for (int i = 0; i < atoi(words[3]); i++) {
        pid_t pid = fork();
        if (pid == 0) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, swap, NULL))
                _exit(3);
            execve(shown, (char *const *)vector, (char *const *)environment);
            _exit(4);
        }
        int status;
        waitpid(pid, &status, 0);
        printf("%d %d\n", pid, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    }
    return 0;
}
