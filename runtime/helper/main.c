/* The helper: one small static program. Its roles are told apart by the descriptor it is started
 * with, never by arguments or environment. */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "runtime/helper/proto.h"
#include "runtime/helper/spawner.h"

static bool has_socket(void)
{
	int domain = 0, type = 0;
	socklen_t n = sizeof(domain);
	return !getsockopt(PROTO_SOCKET, SOL_SOCKET, SO_DOMAIN, &domain, &n) && domain == AF_UNIX &&
		!getsockopt(PROTO_SOCKET, SOL_SOCKET, SO_TYPE, &type, &n) && type == SOCK_SEQPACKET;
}

int main(void)
{
	if (has_socket())
		return spawner_main();
	fputs("this program is a part of cbuild, which starts it itself\n", stderr);
	return 1;
}
