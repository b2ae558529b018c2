#include "runtime/container/attach.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/err.h"
#include "base/io.h"
#include "runtime/monitor.h"

enum { CHUNK = 32 * 1024, INSIST = 3 };

/* What is under way. */
struct session {
	struct attach *a;
	struct termios saved;
	bool raw, input_open, ended;
	uint32_t credit;
	int signals_fd, insisted;
	sigset_t before;
	enum attach_end end;
};

static const int proxied[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM };
static const int fatal[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

bool attach_window(uint16_t *ret_rows, uint16_t *ret_cols)
{
	struct winsize w;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) < 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) < 0)
		return false;
	*ret_rows = w.ws_row;
	*ret_cols = w.ws_col;
	return true;
}

static void end(struct session *s, enum attach_end how, int status)
{
	s->ended = true;
	s->end = how;
	s->a->status = status;
}

/* The other side being gone shows when we read. */
static void say(const struct session *s, enum proto_kind kind, const uint32_t *v, size_t n)
{
	_cleanup_(err_dropp) struct err *e = NULL;
	if (runtime_monitor_send(s->a->conn, kind, v, n, &e) < 0)
		return;
}

/* ---- terminal and signals */

static bool is_proxied(const struct session *s)
{
	return s->a->sig_proxy && !s->a->tty;
}

static void catch_signals(struct session *s)
{
	sigset_t set;
	sigemptyset(&set);
	const int *v = is_proxied(s) ? proxied : fatal;
	size_t n = is_proxied(s) ? ARRAY_SIZE(proxied) : ARRAY_SIZE(fatal);
	for (size_t i = 0; i < n; i++) {
		struct sigaction was;
		/* nohup: what is ignored stays so. */
		if (!sigaction(v[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaddset(&set, v[i]);
	}
	sigaddset(&set, SIGWINCH);
	sigprocmask(SIG_BLOCK, &set, &s->before);
	s->signals_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void make_raw(struct session *s)
{
	if (!s->a->tty || tcgetattr(STDIN_FILENO, &s->saved) < 0)
		return;
	struct termios t = s->saved;
	cfmakeraw(&t);
	s->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &t) == 0;
}

static void give_back(struct session *s)
{
	if (s->raw)
		tcsetattr(STDIN_FILENO, TCSADRAIN, &s->saved);
	if (s->signals_fd >= 0)
		close(s->signals_fd);
	sigprocmask(SIG_SETMASK, &s->before, NULL);
}

static void tell_size(const struct session *s)
{
	uint16_t rows, cols;
	if (s->a->tty && attach_window(&rows, &cols))
		say(s, PROTO_RESIZE, (uint32_t[]){ rows, cols }, 2);
}

static void on_signal(struct session *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		int sig = (int)info.ssi_signo;
		if (sig == SIGWINCH) {
			tell_size(s);
		} else if (!is_proxied(s)) {
			end(s, ATTACH_SIGNALED, 128 + sig);
		} else {
			say(s, PROTO_SIGNAL, (uint32_t[]){ (uint32_t)sig }, 1);
			/* A process that does not listen must not hold our user. */
			if ((sig == SIGINT || sig == SIGTERM) && ++s->insisted == INSIST) {
				fputs("got 3 SIGTERM/SIGINTs, forcefully exiting\n", stderr);
				end(s, ATTACH_SIGNALED, 1);
			}
		}
	}
}

/* ---- the streams */

static void on_stdin(struct session *s)
{
	char buf[CHUNK];
	_cleanup_(sb_releasep) struct sb out = { 0 };
	size_t room = s->credit < sizeof(buf) ? s->credit : sizeof(buf);
	/* What the key sequence held back may go along. */
	if (s->a->tty)
		room = room > DETACH_MAX ? room - DETACH_MAX : 0;
	ssize_t n = room ? read(STDIN_FILENO, buf, room) : -1;
	if (n < 0 && (!room || errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		s->input_open = false;
		say(s, PROTO_INPUT_END, NULL, 0);
		return;
	}
	struct str bytes = { buf, (size_t)n };
	bool leave = false;
	if (s->a->tty) {
		leave = detach_filter(&s->a->keys, bytes, &out);
		bytes = sb_str(&out);
	}
	if (bytes.n) {
		_cleanup_(err_dropp) struct err *e = NULL;
		s->credit -= (uint32_t)bytes.n;
		if (proto_send(s->a->conn, PROTO_INPUT, bytes, NULL, 0, &e) < 0)
			s->input_open = false;
	}
	if (leave)
		end(s, ATTACH_DETACHED, 0);
}

static int on_output(struct session *s, const struct proto_message *m, struct err **err)
{
	uint32_t stream;
	struct str bytes;
	if (proto_words_get(m, &stream, 1, &bytes, err) < 0)
		return -1;
	/* Nobody there to read: as a program that gets SIGPIPE. */
	if (io_write_full(stream == 1 ? STDOUT_FILENO : STDERR_FILENO, bytes.p, bytes.n) < 0)
		end(s, ATTACH_SIGNALED, 128 + SIGPIPE);
	return 0;
}

static int on_message(struct session *s, struct err **err)
{
	_cleanup_(proto_message_release) struct proto_message m;
	_cleanup_(err_dropp) struct err *gone = NULL;
	struct proto_exit x;
	uint32_t n;
	int r = proto_recv(s->a->conn, false, &m, &gone);
	if (r < 0)
		end(s, ATTACH_LOST, 137);
	if (r <= 0)
		return 0;
	switch (m.kind) {
	case PROTO_OUTPUT:
		return on_output(s, &m, err);
	case PROTO_CREDIT:
		if (proto_words_get(&m, &n, 1, NULL, err) < 0)
			return -1;
		s->credit += n;
		return 0;
	case PROTO_STARTED:
		s->a->started = true;
		return 0;
	case PROTO_DROPPED:
		fputs("cbuild: the output was not read in time; the rest of it is in the container's log alone\n",
		      stderr);
		return 0;
	case PROTO_EXIT:
		if (proto_exit_get(&m, &x, err) < 0)
			return -1;
		end(s, ATTACH_EXITED, x.status);
		return 0;
	case PROTO_ERROR:
		return proto_error_get(&m, err);
	default:
		return err_set(err, ERR_INVALID,
			       "an unexpected message of the container's monitor");
	}
}

static int run_loop(struct session *s, struct err **err)
{
	while (!s->ended) {
		bool reads = s->input_open && s->credit > (s->a->tty ? DETACH_MAX : 0);
		struct pollfd p[3] = { { .fd = s->a->conn, .events = POLLIN },
				       { .fd = s->signals_fd, .events = POLLIN },
				       { .fd = reads ? STDIN_FILENO : -1, .events = POLLIN } };
		if (poll(p, ARRAY_SIZE(p), -1) < 0) {
			if (errno == EINTR)
				continue;
			return err_sys(err, "wait for the container");
		}
		if (p[1].revents)
			on_signal(s);
		if (p[0].revents && !s->ended && on_message(s, err) < 0)
			return -1;
		if (p[2].revents && !s->ended)
			on_stdin(s);
	}
	return 0;
}

int attach_run(struct attach *a, enum attach_end *ret, struct err **err)
{
	struct session s = {
		.a = a, .input_open = a->input, .credit = PROTO_WINDOW, .signals_fd = -1
	};
	catch_signals(&s);
	make_raw(&s);
	/* It may have changed since it was told with the start. */
	tell_size(&s);
	int r = run_loop(&s, err);
	give_back(&s);
	*ret = s.end;
	return r;
}
