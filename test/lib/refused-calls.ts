/** A program that makes each call of the seccomp list, in every calling convention of its processor, and says how it ended. */

/**
 * Prints `convention call result` per line. The arguments are such that a kernel that takes the call changes nothing:
 * bad flags, too many segments, a module that is not there, a path that is not there.
 */
export const REFUSED_CALLS = String.raw`
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static void say_number(const char *convention, const char *call, int number) {
  printf("%s %s %s\n", convention, call, number == 0 ? "allowed" : strerrorname_np(number));
  fflush(stdout);
}
static void say(const char *convention, const char *call, long result) {
  say_number(convention, call, result < 0 ? errno : 0);
}
static const char *const gone = "/no/such/path";
static const char *const none = "no-such-module";
static void all(const char *convention, long bit, long kexec) {
  say(convention, "kexec_load", syscall(kexec + bit, 0L, 17L, 0L, 0L));
  say(convention, "kexec_file_load", syscall(SYS_kexec_file_load + bit, -1L, -1L, 0L, 0L, 0xffffffffL));
  say(convention, "open_by_handle_at", syscall(SYS_open_by_handle_at + bit, -1L, 0L, 0L));
  say(convention, "init_module", syscall(SYS_init_module + bit, 0L, 0L, none));
  say(convention, "finit_module", syscall(SYS_finit_module + bit, -1L, none, 0xffffffffL));
  say(convention, "delete_module", syscall(SYS_delete_module + bit, none, 0L));
  say(convention, "umount2-forced", syscall(SYS_umount2 + bit, gone, (long)MNT_FORCE));
  say(convention, "umount2-forced-and-more", syscall(SYS_umount2 + bit, gone, (long)(MNT_FORCE | MNT_DETACH)));
  say(convention, "umount2-forced-upper-half", syscall(SYS_umount2 + bit, gone, 0x100000001L));
  say(convention, "umount2", syscall(SYS_umount2 + bit, gone, 0L));
  say(convention, "umount2-lazy", syscall(SYS_umount2 + bit, gone, (long)MNT_DETACH));
  say(convention, "audit-socket", syscall(SYS_socket + bit, (long)AF_NETLINK, (long)SOCK_RAW, (long)NETLINK_AUDIT));
  say(convention, "route-socket", syscall(SYS_socket + bit, (long)AF_NETLINK, (long)SOCK_RAW, (long)NETLINK_ROUTE));
  say(convention, "getpid", syscall(SYS_getpid + bit));
}
#ifdef __x86_64__
static long i386(long nr, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(0L), "D"(0L) : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
}
/* Without glibc a result is -errno. */
static void say_i386(const char *call, long result) { say_number("i386", call, result < 0 ? (int)-result : 0); }
static int has_i386(void) {
  /* A kernel without it answers with a signal. */
  pid_t pid = fork();
  if (pid == 0) _exit(i386(20, 0, 0, 0) > 0 ? 0 : 1);
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
static void all_i386(void) {
  say_i386("kexec_load", i386(283, 0, 17, 0));
  say_i386("open_by_handle_at", i386(342, -1, 0, 0));
  say_i386("init_module", i386(128, 0, 0, 0));
  say_i386("finit_module", i386(350, -1, 0, -1));
  say_i386("delete_module", i386(129, 0, 0, 0));
  say_i386("umount2-forced", i386(52, 0, MNT_FORCE, 0));
  say_i386("umount2", i386(52, 0, 0, 0));
  say_i386("audit-socket", i386(359, AF_NETLINK, SOCK_RAW, NETLINK_AUDIT));
  say_i386("route-socket", i386(359, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE));
  say_i386("getpid", i386(20, 0, 0, 0));
}
#endif
/** What a handle is for: a file opened past every mount, by its number. */
static void by_handle(void) {
  union { struct file_handle handle; char space[sizeof(struct file_handle) + MAX_HANDLE_SZ]; } u = {0};
  u.handle.handle_bytes = MAX_HANDLE_SZ;
  int mount, at = open("/dev/shm", O_RDONLY | O_DIRECTORY);
  close(open("/dev/shm/file", O_CREAT | O_RDWR, 0600));
  if (name_to_handle_at(AT_FDCWD, "/dev/shm/file", &u.handle, &mount, 0) != 0) { say("native", "handle-of-a-file", -1); return; }
  int fd = open_by_handle_at(at, &u.handle, O_RDONLY);
  say("native", "handle-of-a-file", fd < 0 ? -1 : 0);
}
int main(void) {
  all("native", 0, SYS_kexec_load);
  by_handle();
#ifdef __x86_64__
  all("x32", 0x40000000, 528);
  if (has_i386()) all_i386(); else printf("i386 none none\n");
#endif
  return 0;
}
`;
