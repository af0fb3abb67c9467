/*
 * A process that only waits, so that a test can give it the command line of any Ollama process.
 * With DUMMY_SERVER set it stands for `ollama serve`: it listens on a free port of 127.0.0.1, prints the port, and for
 * every line on stdin starts a runner as its child and prints its PID. A line is: program, TAB, arguments joined by TABs.
 * It ends at the end of stdin. Both end by themselves after five minutes, or DUMMY_SECONDS, should a test run die
 * without a teardown.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_ARGUMENTS 128

static int listen_anywhere(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (server < 0 || bind(server, (struct sockaddr *)&address, length) || listen(server, 8)) exit(1);
  if (getsockname(server, (struct sockaddr *)&address, &length)) exit(1);
  return ntohs(address.sin_port);
}

static void start_runner(char *line) {
  char *arguments[MAX_ARGUMENTS + 1] = {0};
  char *program = strsep(&line, "\t");
  int count = 0;
  while (line && count < MAX_ARGUMENTS) arguments[count++] = strsep(&line, "\t");
  pid_t pid = fork();
  if (pid < 0) exit(1);
  if (pid == 0) {
    unsetenv("DUMMY_SERVER");
    /* Only the server answers on its stdout. */
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    execv(program, arguments);
    _exit(127);
  }
  printf("%d\n", (int)pid);
}

int main(void) {
  const char *seconds = getenv("DUMMY_SECONDS");
  alarm(seconds ? (unsigned)atoi(seconds) : 300);
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (!getenv("DUMMY_SERVER")) {
    puts("ready");
    for (;;) pause();
  }
  signal(SIGCHLD, SIG_IGN);
  printf("%d\n", listen_anywhere());
  char *line = NULL;
  size_t capacity = 0;
  while (getline(&line, &capacity, stdin) > 0) {
    line[strcspn(line, "\n")] = '\0';
    start_runner(line);
  }
  return 0;
}
