/* A program that asks a mount who it is, when and how it is told to.
 *
 *     asker MOUNT SOCKET [DESCRIPTOR]
 *
 * It connects to SOCKET (or goes on with the connection that DESCRIPTOR is), says its pid, and then
 * answers each line with a line. Fields are separated by tabs. An answer is "ok", what was asked
 * for, or "errno N".
 *
 *     link                             where MOUNT/current leads
 *     thread                           the same, asked by a new thread
 *     cd DIRECTORY
 *     fork                             the pid of a copy, which connects by itself
 *     exec N VARIABLE... FILE ARG...   become another program, with N variables; it says its pid
 *     spawn PID DIRECTORY N VARIABLE... FILE ARG...
 *                                      start a program there, under that pid if PID is not 0
 *     stat PATH COUNT                  look at it as often
 *     time COUNT PAUSE                 ask COUNT times, PAUSE microseconds apart: nanoseconds each
 *     storm COUNT BATCH                COUNT children that ask once and end, BATCH at a time; how
 *                                      many of them got an answer
 *     quick PID FIRST SECOND           two children under one pid, one after the other, in two
 *                                      directories: START LINK START LINK
 *     scribble                         overwrite the environment and all that was said of it
 *     lock FILE                        block in a second thread, with the memory lock held: FILE is
 *                                      on a file system that does not answer a write
 *     exit
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 4 << 20, MOST = 1 << 10 };

extern char **environ;
static char current[4096], *program, *mount, *address;
static FILE *in;
static int talk;

static void say(const char *format, ...)
{
    static char line[1 << 20];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(line, sizeof line - 1, format, list);
    va_end(list);
    line[size++] = '\n';
    for (char *at = line; size > 0;) {
        ssize_t written = write(talk, at, size);
        if (written < 0)
            _exit(1);
        at += written;
        size -= written;
    }
}

static void attend(int descriptor)
{
    if (descriptor < 0) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        strncpy(to.sun_path, address, sizeof to.sun_path - 1);
        descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(descriptor, (struct sockaddr *)&to, sizeof to))
            _exit(1);
    }
    talk = descriptor;
    in = fdopen(dup(descriptor), "r");
    fcntl(fileno(in), F_SETFD, FD_CLOEXEC);
    say("pid\t%d\t%d", getpid(), talk);
}

static void *ask(void *into)
{
    char *target = into;
    ssize_t size = readlink(current, target, 255);
    if (size < 0)
        size = sprintf(target, "errno %d", errno);
    target[size] = 0;
    return NULL;
}

static long long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static pid_t start(pid_t pid)
{
    pid_t wanted[] = {pid};
    struct clone_args how = {.exit_signal = SIGCHLD};
    if (pid) {
        how.set_tid = (uintptr_t)wanted;
        how.set_tid_size = 1;
    }
    pid_t made;
    /* Whoever had the pid may not be gone for another moment. */
    for (int tries = 0; (made = syscall(SYS_clone3, &how, sizeof how)) < 0 && tries < 2000; tries++)
        if (errno != EEXIST)
            break;
        else
            usleep(500);
    return made;
}

static void run(int count, char **words)
{
    int variables = atoi(words[0]);
    char *environment[MOST] = {0};
    memcpy(environment, words + 1, variables * sizeof *environment);
    words[count] = NULL;
    execve(words[1 + variables], words + 2 + variables, environment);
}

static void measure(int count, int pause)
{
    static char line[1 << 20];
    char target[256];
    int size = 0;
    for (int i = 0; i < count; i++) {
        long long before = nanoseconds();
        ask(target);
        size += sprintf(line + size, "%lld ", nanoseconds() - before);
        if (pause)
            usleep(pause);
    }
    say("%s", line);
}

static void storm(int count, int batch)
{
    int answered = 0;
    signal(SIGCHLD, SIG_DFL);
    for (int done = 0; done < count; done += batch) {
        for (int i = 0; i < batch; i++)
            if (!fork()) {
                char target[256];
                ask(target);
                _exit(strncmp(target, "views/", 6) != 0);
            }
        for (int status; wait(&status) > 0;)
            answered += status == 0;
    }
    signal(SIGCHLD, SIG_IGN);
    say("%d", answered);
}

static long long start_time(pid_t pid)
{
    char path[64], line[4096];
    sprintf(path, "/proc/%d/stat", pid);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = read(file, line, sizeof line - 1);
    close(file);
    line[size > 0 ? size : 0] = 0;
    char *at = strrchr(line, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? atoll(at) : -1;
}

/* Forked, and so with one and the same memory layout: only the start time tells them apart. */
static void quick(pid_t pid, char **directories)
{
    char line[2][300];
    signal(SIGCHLD, SIG_DFL);
    for (int i = 0; i < 2; i++) {
        int ends[2];
        if (pipe(ends))
            _exit(1);
        pid_t child = start(pid);
        if (!child) {
            char target[256];
            if (chdir(directories[i]))
                _exit(1);
            ask(target);
            dprintf(ends[1], "%lld\t%s", start_time(getpid()), target);
            _exit(0);
        }
        close(ends[1]);
        ssize_t size = read(ends[0], line[i], sizeof line[i] - 1);
        line[i][size > 0 ? size : 0] = 0;
        close(ends[0]);
        if (child > 0)
            waitpid(child, NULL, 0);
    }
    signal(SIGCHLD, SIG_IGN);
    say("%s\t%s", line[0], line[1]);
}

static void *block(void *file)
{
    int descriptor = open(file, O_RDWR | O_CLOEXEC);
    char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (page == MAP_FAILED)
        return NULL;
    page[0] = 'x';
    /* What was there is closed, and written back, with the lock held for writing. */
    mmap(page, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    return NULL;
}

static void obey(char *line)
{
    char *words[MOST], target[256];
    int count = 0;
    for (char *word; (word = strsep(&line, "\t")) && count < MOST - 1;)
        words[count++] = word;
    const char *verb = words[0];
    int refused = 0;
    if (!strcmp(verb, "link")) {
        ask(target);
        return say("%s", target);
    }
    if (!strcmp(verb, "thread")) {
        pthread_t thread;
        pthread_create(&thread, NULL, ask, target);
        pthread_join(thread, NULL);
        return say("%s", target);
    }
    if (!strcmp(verb, "fork")) {
        pid_t child = fork();
        if (!child) {
            fclose(in);
            close(talk);
            return attend(-1);
        }
        return say("%d", child);
    }
    if (!strcmp(verb, "spawn")) {
        pid_t child = start(atoi(words[1]));
        if (!child) {
            fclose(in);
            close(talk);
            if (!chdir(words[2]))
                run(count - 3, words + 3);
            _exit(1);
        }
        return child < 0 ? say("errno %d", errno) : say("%d", child);
    }
    if (!strcmp(verb, "time"))
        return measure(atoi(words[1]), atoi(words[2]));
    if (!strcmp(verb, "storm"))
        return storm(atoi(words[1]), atoi(words[2]));
    if (!strcmp(verb, "quick"))
        return quick(atoi(words[1]), words + 2);
    if (!strcmp(verb, "exit"))
        _exit(0);
    if (!strcmp(verb, "cd"))
        refused = chdir(words[1]);
    else if (!strcmp(verb, "stat")) {
        struct stat found;
        for (int i = 0; i < atoi(words[2]); i++)
            (void)!stat(words[1], &found);
    } else if (!strcmp(verb, "exec"))
        run(count - 1, words + 1), refused = 1;
    else if (!strcmp(verb, "scribble")) {
        for (char **variable = environ; *variable; variable++)
            memset(*variable, 0xfe, strlen(*variable) + 1);
    } else if (!strcmp(verb, "lock")) {
        pthread_t thread;
        pthread_create(&thread, NULL, block, strdup(words[1]));
        usleep(100000);
    } else
        refused = 1, errno = EINVAL;
    refused ? say("errno %d", errno) : say("ok");
}

int main(int count, char **words)
{
    static char line[LONGEST];
    if (count < 3)
        return 2;
    program = words[0], mount = strdup(words[1]), address = strdup(words[2]);
    snprintf(current, sizeof current, "%s/current", mount);
    signal(SIGCHLD, SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    attend(count > 3 ? atoi(words[3]) : -1);
    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\n")] = 0;
        obey(line);
    }
    return 0;
}
