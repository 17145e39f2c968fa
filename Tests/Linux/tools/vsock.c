/// Sockets between guest and host, for a guest that has no other program for them.
///
/// usage: vsock connect CID PORT          standard input to the socket, and the socket to standard output, until both end
///        vsock listen PORT               the same, with the first who connects
///        vsock echo PORT                 sends everybody back what they send, until it is killed
///        vsock many CID PORT COUNT       COUNT connections at once to an echo, each with words of its own
///        vsock refused CID PORT          succeeds if nobody can be reached there
///        vsock source CID PORT COUNT     sends COUNT bytes, and waits for the other side's end
///        vsock sink PORT                 reads what each sends, one after the other, until it is killed
#include <errno.h>
#include <linux/vm_sockets.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS = 4096 };

static _Noreturn void fail(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_vm address(const char *cid, const char *port) {
    struct sockaddr_vm to = {.svm_family = AF_VSOCK};
    to.svm_cid = cid ? (unsigned)strtoul(cid, NULL, 10) : VMADDR_CID_ANY;
    to.svm_port = (unsigned)strtoul(port, NULL, 10);
    return to;
}

static int stream(void) {
    int made = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (made < 0) fail("socket");
    return made;
}

static int connect_to(const char *cid, const char *port) {
    struct sockaddr_vm to = address(cid, port);
    int made = stream();
    if (connect(made, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
    return made;
}

static int listen_on(const char *port) {
    struct sockaddr_vm at = address(NULL, port);
    int made = stream();
    if (bind(made, (struct sockaddr *)&at, sizeof at) != 0) fail("bind");
    if (listen(made, 256) != 0) fail("listen");
    // Whoever started this program can wait for the line.
    fprintf(stderr, "LISTENS %s\n", port);
    return made;
}

static void write_all(int to, const char *data, size_t count) {
    while (count > 0) {
        ssize_t done = write(to, data, count);
        if (done < 0) fail("write");
        data += done;
        count -= (size_t)done;
    }
}

/// Moves what is there from one file to another; 0 at the end.
static int move(int from, int to) {
    static char data[65536];
    ssize_t count = read(from, data, sizeof data);
    if (count < 0) fail("read");
    write_all(to, data, (size_t)count);
    return count > 0;
}

static void join(int socket) {
    // A file is always ready, and a socket that takes no more must not keep its own data from being read.
    pid_t sender = fork();
    if (sender < 0) fail("fork");
    if (sender == 0) {
        while (move(0, socket)) {
        }
        shutdown(socket, SHUT_WR);
        _exit(0);
    }
    while (move(socket, 1)) {
    }
    int status;
    if (waitpid(sender, &status, 0) < 0 || status != 0) fail("sender");
}

static _Noreturn void echo(int listener) {
    // Nobody waits for those who serve.
    signal(SIGCHLD, SIG_IGN);
    while (1) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) fail("accept");
        if (fork() == 0) {
            while (move(client, client)) {
            }
            _exit(0);
        }
        close(client);
    }
}

static void source(int socket, size_t count) {
    static char data[65536];
    for (size_t left = count; left > 0;) {
        size_t piece = left < sizeof data ? left : sizeof data;
        write_all(socket, data, piece);
        left -= piece;
    }
    shutdown(socket, SHUT_WR);
    if (read(socket, data, 1) != 0) fail("end");
}

static _Noreturn void sink(int listener) {
    static char data[1 << 18];
    while (1) {
        int client = accept(listener, NULL, NULL);
        if (client < 0) fail("accept");
        while (read(client, data, sizeof data) > 0) {
        }
        close(client);
    }
}

static void words(char *data, unsigned which) {
    for (size_t i = 0; i < WORDS; i++) data[i] = (char)(which * 31 + i * 7 + i / 256);
}

static void many(const char *cid, const char *port, int count) {
    char sent[WORDS], heard[WORDS];
    int *sockets = calloc((size_t)count, sizeof *sockets);
    for (int i = 0; i < count; i++) sockets[i] = connect_to(cid, port);
    for (int i = 0; i < count; i++) {
        words(sent, (unsigned)i);
        write_all(sockets[i], sent, WORDS);
        shutdown(sockets[i], SHUT_WR);
    }
    for (int i = count - 1; i >= 0; i--) {
        words(sent, (unsigned)i);
        size_t have = 0;
        ssize_t more;
        while ((more = read(sockets[i], heard + have, WORDS - have)) > 0) have += (size_t)more;
        char end;
        if (have != WORDS || memcmp(sent, heard, WORDS) != 0 || read(sockets[i], &end, 1) != 0) {
            fprintf(stderr, "connection %d gave back something else, %zu bytes\n", i, have);
            exit(1);
        }
        close(sockets[i]);
    }
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (strcmp(what, "connect") == 0 && count == 4) {
        join(connect_to(words[2], words[3]));
    } else if (strcmp(what, "listen") == 0 && count == 3) {
        join(accept(listen_on(words[2]), NULL, NULL));
    } else if (strcmp(what, "echo") == 0 && count == 3) {
        echo(listen_on(words[2]));
    } else if (strcmp(what, "many") == 0 && count == 5) {
        many(words[2], words[3], atoi(words[4]));
    } else if (strcmp(what, "source") == 0 && count == 5) {
        source(connect_to(words[2], words[3]), strtoul(words[4], NULL, 10));
    } else if (strcmp(what, "sink") == 0 && count == 3) {
        sink(listen_on(words[2]));
    } else if (strcmp(what, "refused") == 0 && count == 4) {
        struct sockaddr_vm to = address(words[2], words[3]);
        return connect(stream(), (struct sockaddr *)&to, sizeof to) == 0;
    } else {
        fprintf(stderr, "vsock: unknown use\n");
        return 2;
    }
    return 0;
}
