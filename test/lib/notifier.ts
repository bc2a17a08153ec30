/** An init that talks to its manager, for the tests of readiness. Compile it with `compileInto` of programs.ts. */

/**
 * Talks to its manager by sd_notify(3), as its arguments say one after another: `say:TEXT` (with \n for newlines),
 * `flood:N` messages of 4000 bytes, `child:TEXT` from another process, `long:BYTES`, `barrier:` and wait until the descriptor sent with it is closed,
 * `ms:N` to sleep, `hang`. It prints `done` after each. A signal 37 ends it.
 */
export const NOTIFIER = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
static int sock;
static void quit(int number) { printf("got %d\n", number); fflush(stdout); _exit(0); }
static void send_text(const char *text, size_t length, int fd) {
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec iov = {.iov_base = (void *)text, .iov_len = length};
  struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  if (sendmsg(sock, &message, 0) < 0) printf("send: %s\n", strerrorname_np(errno));
}
static void unescape(char *text) {
  char *out = text;
  for (; *text; text++) {
    if (text[0] == '\\' && text[1] == 'n') { *out++ = '\n'; text++; }
    else *out++ = *text;
  }
  *out = 0;
}
int main(int argc, char **argv) {
  const char *path = getenv("NOTIFY_SOCKET");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path ? path : "/run/host/notify", sizeof address.sun_path - 1);
  printf("socket %s\n", path ? path : "not named");
  signal(37, quit);
  signal(30, quit);
  sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (connect(sock, (struct sockaddr *)&address, sizeof address) != 0) { printf("connect: %s\n", strerrorname_np(errno)); return 1; }
  for (int i = 1; i < argc; i++) {
    char *colon = strchr(argv[i], ':'), *value = colon ? colon + 1 : "";
    if (colon) unescape(value);
    if (!strncmp(argv[i], "say:", 4)) send_text(value, strlen(value), -1);
    else if (!strncmp(argv[i], "flood:", 6)) {
      char text[4000];
      memset(text, 'x', sizeof text);
      memcpy(text, "X_FLOOD=", 8);
      for (int n = atoi(value); n > 0; n--) send_text(text, sizeof text, -1);
    }
    else if (!strncmp(argv[i], "child:", 6)) {
      pid_t pid = fork();
      if (pid == 0) { send_text(value, strlen(value), -1); _exit(0); }
      waitpid(pid, 0, 0);
    } else if (!strncmp(argv[i], "long:", 5)) {
      size_t size = (size_t)atoi(value);
      char *text = calloc(1, size);
      memset(text, 'x', size);
      memcpy(text, "READY=1\nSTATUS=", 15);
      send_text(text, size, -1);
    } else if (!strncmp(argv[i], "barrier:", 8)) {
      int ends[2];
      if (pipe(ends) != 0) return 1;
      send_text("BARRIER=1", 9, ends[1]);
      close(ends[1]);
      struct pollfd end = {.fd = ends[0]};
      printf("barrier %s\n", poll(&end, 1, 8000) == 1 ? "closed" : "open");
      close(ends[0]);
    } else if (!strncmp(argv[i], "ms:", 3)) usleep((useconds_t)atoi(value) * 1000);
    else if (!strcmp(argv[i], "hang")) for (;;) pause();
    else return 2;
    printf("done %s\n", argv[i]);
    fflush(stdout);
  }
  return 0;
}
`;
