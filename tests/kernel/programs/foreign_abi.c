/* System calls by a road that a filter for x86-64 numbers does not see: exits 0 when the call worked, 1 when it did not. */
#include <string.h>
#include <unistd.h>

static long int80(long number, long first, long second)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second) : "memory");
    return result;
}

int main(int count, char **words)
{
    const char *act = count > 1 ? words[1] : "";
    if (!strcmp(act, "int80"))
        return int80(20, 0, 0) <= 0; /* i386 getpid */
    if (!strcmp(act, "int80_connect"))
        return int80(102, 1, 0) == -38; /* i386 socketcall(SYS_SOCKET) */
    if (!strcmp(act, "x32"))
        return syscall(0x40000000 | 39) <= 0; /* x32 getpid */
    return 2;
}
