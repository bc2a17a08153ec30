/* PID 1 that tells what it found, one `key value` line each, so that the benchmark can print how alike the
 * contenders' containers are instead of claiming it. */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <sys/utsname.h>
#include <unistd.h>

static void namespace_of(const char *name) {
  char path[64], target[128];
  snprintf(path, sizeof path, "/proc/self/ns/%s", name);
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length < 0) {
    printf("ns.%s -\n", name);
    return;
  }
  target[length] = 0;
  printf("ns.%s %s\n", name, target);
}

static void first_line(const char *key, const char *path) {
  char line[256] = "-";
  FILE *file = fopen(path, "r");
  if (file) {
    if (!fgets(line, sizeof line, file)) strcpy(line, "-");
    fclose(file);
  }
  line[strcspn(line, "\n")] = 0;
  printf("%s %s\n", key, line);
}

static int count_lines(const char *path) {
  FILE *file = fopen(path, "r");
  int lines = 0, c;
  if (!file) return -1;
  while ((c = getc(file)) != EOF) lines += c == '\n';
  fclose(file);
  return lines;
}

static int count_entries(const char *path) {
  DIR *dir = opendir(path);
  int entries = 0;
  struct dirent *entry;
  if (!dir) return -1;
  while ((entry = readdir(dir))) entries += entry->d_name[0] != '.';
  closedir(dir);
  return entries;
}

static void status_lines(void) {
  char line[256];
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) return;
  while (fgets(line, sizeof line, file)) {
    if (!strncmp(line, "CapBnd:", 7) || !strncmp(line, "Seccomp:", 8)) printf("status.%s", line);
  }
  fclose(file);
}

int main(void) {
  static const char *const namespaces[] = {"mnt", "pid", "net", "uts", "ipc", "cgroup", "user"};
  for (unsigned i = 0; i < sizeof namespaces / sizeof *namespaces; i++) namespace_of(namespaces[i]);
  struct utsname uts;
  uname(&uts);
  printf("pid %d\nuid %d\nhostname %s\n", getpid(), getuid(), uts.nodename);
  first_line("uid_map", "/proc/self/uid_map");
  printf("mounts %d\n", count_lines("/proc/self/mountinfo"));
  printf("dev %d\n", count_entries("/dev"));
  printf("fds %d\n", count_entries("/proc/self/fd") - 1);
  int tty = open("/dev/console", O_RDWR | O_NOCTTY | O_NONBLOCK);
  printf("console %d\nstdout.tty %d\n", tty >= 0, isatty(1));
  int null = open("/dev/null", O_WRONLY);
  printf("null %d\n", null >= 0 && write(null, "x", 1) == 1);
  struct ifreq lo = {.ifr_name = "lo"};
  int sock = socket(AF_INET, SOCK_DGRAM, 0);
  printf("lo.up %d\n", sock >= 0 && ioctl(sock, SIOCGIFFLAGS, &lo) == 0 && (lo.ifr_flags & IFF_UP));
  struct stat root, etc;
  printf("root.owner %d\n", stat("/", &root) == 0 ? (int)root.st_uid : -1);
  printf("etc.owner %d\n", stat("/etc", &etc) == 0 ? (int)etc.st_uid : -1);
  struct statvfs sys;
  struct statfs kind;
  int sysfs = statfs("/sys", &kind) == 0 && kind.f_type == 0x62656572 && statvfs("/sys", &sys) == 0;
  printf("sysfs %s\n", !sysfs ? "none" : sys.f_flag & ST_RDONLY ? "ro" : "rw");
  FILE *file = fopen("/proc/self/cgroup", "r");
  char line[256];
  while (file && fgets(line, sizeof line, file)) printf("cgroup %s", line);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  printf("nofile %ld\n", (long)files.rlim_cur);
  status_lines();
  printf("END 1\n");
  return 0;
}
