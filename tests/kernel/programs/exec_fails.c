/* exec_fails PATH TIMES: children that exit at once when they may not run PATH. Prints how many did. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    char *vector[] = {"refused", NULL}, *empty[] = {NULL};
    int refused = 0;
    for (int i = 0; i < atoi(words[2]); i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            execve(words[1], vector, empty);
            _exit(99);
        }
        if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 99)
            refused++;
    }
    printf("%d\n", refused);
    return 0;
}
