/* work NAME [MILLISECONDS]: writes down whose it is, by what nobody but the harness told it: TRUTH, and who it is. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **words)
{
    char line[512], status[1024] = "";
    int self = open("/proc/self/stat", O_RDONLY), log = open(getenv("TRUTH_LOG"), O_WRONLY | O_APPEND);
    if (count < 2 || self < 0 || log < 0 || read(self, status, sizeof status - 1) <= 0)
        return 1;
    char *field = strrchr(status, ')') + 1;
    for (int number = 3; number < 22; number++) /* proc(5): the 22nd is the start time */
        field = strchr(field + 1, ' ');
    int size = snprintf(line, sizeof line, "%s %d:%ld\n", getenv("TRUTH"), getpid(), strtol(field, NULL, 10));
    if (write(log, line, size) != size)
        return 2;
    struct timespec pause = {0, count > 2 ? atoi(words[2]) * 1000000L : 0};
    nanosleep(&pause, NULL);
    return 0;
}
