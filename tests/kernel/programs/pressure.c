/* pressure ACT TIMES: many questions, many threads, many signals. Each act counts what came out as it should. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int times, interrupted;
static atomic_int over, signals;

static void say(int right, int wrong, double seconds)
{
    printf("{\"errno\": 0, \"result\": {\"right\": %d, \"wrong\": %d, \"seconds\": %.3f, \"signals\": %d, \"interrupted\": %d}}\n",
           right, wrong, seconds, atomic_load(&signals), interrupted);
    fflush(stdout);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* A refused call, over and over, and for ever when TIMES is 0. */
static int refused(void)
{
    int right = 0;
    for (int i = 0; !times || i < times; i++)
        right += ptrace(PTRACE_TRACEME, 0, 0, 0) == -1 && errno == EPERM;
    return right;
}

/* The same from processes that each ask a little and leave. */
static int refused_by_many(void)
{
    int count = times;
    for (;;) {
        times = count;
        if (!fork()) {
            refused();
            _exit(0);
        }
        wait(NULL);
    }
}

/* A granted call: opening for writing. */
static int granted(void)
{
    int right = 0;
    for (int i = 0; i < times; i++) {
        int file = open("written", O_WRONLY | O_CREAT, 0600);
        right += file >= 0;
        close(file);
    }
    return right;
}

static void *wait_for_all(void *barrier)
{
    pthread_barrier_wait(barrier);
    return (void *)(long)(ptrace(PTRACE_TRACEME, 0, 0, 0) == -1 && errno == EPERM);
}

/* TIMES threads alive at once, each with a question of its own. */
static int threads(void)
{
    pthread_t *thread = calloc(times, sizeof *thread);
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, times);
    for (int i = 0; i < times; i++)
        if (pthread_create(thread + i, &small, wait_for_all, &barrier))
            exit(3);
    int right = 0;
    for (int i = 0; i < times; i++) {
        void *one;
        pthread_join(thread[i], &one);
        right += (long)one;
    }
    return right;
}

/* TIMES processes alive at once; they end when the pipe closes. Counts those that could be made. */
static int processes(void)
{
    int ends[2], made = 0;
    pipe(ends);
    for (int i = 0; i < times; i++) {
        pid_t pid = fork();
        if (pid < 0)
            break;
        if (!pid) {
            char c;
            close(ends[1]);
            _exit(read(ends[0], &c, 1) != 0);
        }
        made++;
    }
    printf("made %d\n", made);
    fflush(stdout);
    getchar();
    close(ends[1]);
    int right = 0, status;
    while (wait(&status) > 0)
        right += WIFEXITED(status) && !WEXITSTATUS(status);
    return right;
}

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&signals, 1);
}

static void *bombard(void *thread)
{
    while (!atomic_load(&over)) {
        pthread_kill(*(pthread_t *)thread, SIGUSR1);
        sched_yield();
    }
    return NULL;
}

/* A signal that comes before the question is received breaks it off, and then nothing was done (seccomp_unotify(2)). */
#define AGAIN(call)                                                                                                    \
    ({                                                                                                                 \
        long result;                                                                                                   \
        while ((result = (call)) == -1 && errno == EINTR)                                                              \
            interrupted++;                                                                                             \
        result;                                                                                                        \
    })

/* One of each kind of question, under a storm of signals; each is done once. */
/* What did not come out as it should is said on stderr, with its errno. */
static int check(int right, int line)
{
    if (!right)
        fprintf(stderr, "line %d: %s\n", line, strerror(errno));
    return right;
}

static int once(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "storm.sock"};
    struct sockaddr_in far = {.sin_family = AF_INET, .sin_port = htons(9)};
    far.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    unlink(name.sun_path);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    int tcp = socket(AF_INET, SOCK_STREAM, 0), right = 1;
    right &= check(!AGAIN(bind(server, (struct sockaddr *)&name, sizeof name)), __LINE__);
    right &= check(!AGAIN(listen(server, 1)), __LINE__);
    right &= check(!AGAIN(connect(client, (struct sockaddr *)&name, sizeof name)), __LINE__);
    right &= check(AGAIN(connect(tcp, (struct sockaddr *)&far, sizeof far)) == -1 && errno == EACCES, __LINE__);
    right &= check(AGAIN(socket(AF_INET, SOCK_DGRAM, 0)) == -1 && errno == EACCES, __LINE__);
    right &= check(AGAIN(ptrace(PTRACE_TRACEME, 0, 0, 0)) == -1 && errno == EPERM, __LINE__);
    int file = AGAIN(open("written", O_WRONLY | O_CREAT, 0600));
    right &= check(file >= 0, __LINE__);
    pid_t child = AGAIN(fork());
    if (!child) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(1);
    }
    int status;
    right &= check(child > 0 && AGAIN(waitpid(child, &status, 0)) == child && WIFEXITED(status) && !WEXITSTATUS(status), __LINE__);
    close(file), close(tcp), close(client), close(server);
    return right;
}

static int storm(int flags)
{
    struct sigaction action = {.sa_handler = count_signal, .sa_flags = flags};
    sigaction(SIGUSR1, &action, NULL);
    pthread_t self = pthread_self(), other;
    pthread_create(&other, NULL, bombard, &self);
    int right = 0;
    for (int i = 0; i < times; i++)
        right += once();
    atomic_store(&over, 1);
    pthread_join(other, NULL);
    return right;
}

static void *exec_from_here(void *unused)
{
    (void)unused;
    execl("/bin/true", "true", "from a thread", (char *)NULL);
    return NULL;
}

/* A thread that is not the leader runs a program, and the leader and the others are gone. */
static int thread_exec(void)
{
    int right = 0, status;
    for (int i = 0; i < times; i++) {
        pid_t child = fork();
        if (!child) {
            pthread_t thread;
            for (int n = 0; n < 3; n++)
                pthread_create(&thread, NULL, exec_from_here, NULL);
            for (;;)
                pause();
        }
        right += waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status);
    }
    return right;
}

static int vforks(void)
{
    int right = 0, status;
    for (int i = 0; i < times; i++) {
        pid_t child = vfork();
        if (!child) {
            execl(i % 2 ? "/bin/true" : "/nowhere/true", "true", (char *)NULL);
            _exit(7);
        }
        right += waitpid(child, &status, 0) == child && WEXITSTATUS(status) == (i % 2 ? 0 : 7);
    }
    return right;
}

static pthread_t leader;

static void *after_the_leader(void *unused)
{
    (void)unused;
    pthread_join(leader, NULL);
    int right = 0;
    for (int i = 0; i < times; i++)
        right += once();
    say(right, times - right, 0);
    exit(0);
}

/* The leader has ended; its descriptors are still its threads'. */
static int leaderless(void)
{
    pthread_t thread;
    leader = pthread_self();
    pthread_create(&thread, NULL, after_the_leader, NULL);
    pthread_exit(NULL);
}

/* Ends at once in the middle of whatever question the other thread asks; TIMES children, at moments that differ. */
static void *ask(void *kind)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "death.sock"};
    for (;;)
        switch ((long)kind % 5) {
        case 0:
            connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&name, sizeof name);
            break;
        case 1:
            close(open("written", O_WRONLY | O_CREAT, 0600));
            break;
        case 2:
            ptrace(PTRACE_TRACEME, 0, 0, 0);
            break;
        case 3:
            if (!vfork())
                _exit(0);
            break;
        default:
            execl("/bin/true", "true", (char *)NULL);
        }
    return NULL;
}

static int deaths(void)
{
    int right = 0, status;
    for (int i = 0; i < times; i++) {
        pid_t child = fork();
        if (child < 0)
            return right;
        if (!child)
            ask((void *)(long)i);
        for (volatile int n = 0; n < (i * 7919) % 60000; n++)
            ;
        kill(child, SIGKILL);
        right += waitpid(child, &status, 0) == child;
    }
    return right;
}

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    struct {
        const char *name;
        int (*act)(void);
    } acts[] = {
        {"refused", refused},     {"refused by many", refused_by_many},
        {"granted", granted},     {"threads", threads},
        {"processes", processes}, {"thread exec", thread_exec},
        {"vforks", vforks},       {"leaderless", leaderless},
        {"deaths", deaths},
    };
    times = atoi(words[2]);
    double began = now();
    int right = -1;
    if (!strcmp(words[1], "storm"))
        right = storm(0);
    else if (!strcmp(words[1], "restarting storm"))
        right = storm(SA_RESTART);
    else
        for (unsigned i = 0; i < sizeof acts / sizeof *acts; i++)
            if (!strcmp(words[1], acts[i].name))
                right = acts[i].act();
    if (right < 0)
        return 2;
    say(right, times - right, now() - began);
    return 0;
}
