/** A payload that watches: it looks into every process it can see, as fast as it can, and remembers what it saw. */
export const WATCHER = String.raw`
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { MOST = 512, LENGTH = 256 };
static char seen[MOST][LENGTH];
static int count;
static void saw(const char *what, const char *text) {
  char line[LENGTH];
  snprintf(line, sizeof line, "%s %s", what, text);
  for (int i = 0; i < count; i++) if (strcmp(seen[i], line) == 0) return;
  if (count < MOST) strcpy(seen[count++], line);
}
static void link_of(const char *what, const char *path) {
  char target[LENGTH] = "";
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length <= 0) return;
  /* Pipes and sockets have numbers of their own. */
  char *number = strstr(target, ":[");
  if (number != NULL) *number = 0;
  saw(what, target);
}
static void look(const char *pid) {
  char path[LENGTH], text[8192];
  snprintf(path, sizeof path, "/proc/%s/exe", pid);
  link_of("exe", path);
  snprintf(path, sizeof path, "/proc/%s/cwd", pid);
  link_of("cwd", path);
  snprintf(path, sizeof path, "/proc/%s/root", pid);
  link_of("root", path);
  for (int fd = 0; fd < 32; fd++) {
    char what[16];
    snprintf(what, sizeof what, "fd%d", fd);
    snprintf(path, sizeof path, "/proc/%s/fd/%d", pid, fd);
    link_of(what, path);
  }
  snprintf(path, sizeof path, "/proc/%s/maps", pid);
  int fd = open(path, O_RDONLY);
  if (fd >= 0) {
    ssize_t length = read(fd, text, sizeof text - 1);
    if (length > 0) {
      text[length] = 0;
      for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *file = strchr(line, '/');
        if (file != NULL) saw("map", file);
      }
    }
    close(fd);
  }
}
/* Writes what it saw once /stop is there. */
int main(void) {
  char self[16];
  snprintf(self, sizeof self, "%d", getpid());
  puts("watching");
  fflush(stdout);
  while (access("/stop", F_OK) != 0) {
    DIR *proc = opendir("/proc");
    if (proc == NULL) return 1;
    for (struct dirent *entry; (entry = readdir(proc)) != NULL;)
      if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && strcmp(entry->d_name, self) != 0 && strcmp(entry->d_name, "1") != 0)
        look(entry->d_name);
    closedir(proc);
  }
  for (int i = 0; i < count; i++) printf("saw %s\n", seen[i]);
  puts("told");
  fflush(stdout);
  return 0;
}
`;
