/* A Modbus server by somebody else: libmodbus with the words of a file in all four tables.
 *
 *   libmodbus_server tcp 0 UNIT WORDS          prints the port it listens on
 *   libmodbus_server rtu /dev/pts/3 UNIT WORDS
 *
 * WORDS: hexadecimal words, one per line: holding and input registers. Coils and discrete inputs are the
 * lowest bit of each word. Ends with its standard input.
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (argc != 5) return 64;
    int is_tcp = strcmp(argv[1], "tcp") == 0, listening = -1, one = 1;
    modbus_t *bus = is_tcp ? modbus_new_tcp("127.0.0.1", 0) : modbus_new_rtu(argv[2], 115200, 'N', 8, 1);
    if (!bus) return 65;
    modbus_set_slave(bus, atoi(argv[3]));
    modbus_mapping_t *map = modbus_mapping_new(4096, 4096, 4096, 4096);
    FILE *words = fopen(argv[4], "r");
    unsigned word;
    for (int i = 0; words && i < 4096 && fscanf(words, "%x", &word) == 1; i++) {
        map->tab_registers[i] = map->tab_input_registers[i] = word;
        map->tab_bits[i] = map->tab_input_bits[i] = word & 1;
    }
    if (is_tcp) { /* our own socket: modbus_tcp_listen cannot say which free port it got */
        struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof at;
        listening = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(listening, (struct sockaddr *)&at, size) || listen(listening, 4)) return 66;
        getsockname(listening, (struct sockaddr *)&at, &size);
        printf("%d\n", ntohs(at.sin_port));
    } else {
        if (modbus_connect(bus)) return 67;
        printf("0\n");
    }
    fflush(stdout);
    int line = is_tcp ? -1 : modbus_get_socket(bus);
    for (;;) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(0, &set);
        int top = line >= 0 ? line : listening;
        FD_SET(top, &set);
        if (select(top + 1, &set, NULL, NULL, NULL) < 0) return 68;
        if (FD_ISSET(0, &set) && getchar() == EOF) return 0;
        if (line < 0) {
            line = modbus_tcp_accept(bus, &listening);
            continue;
        }
        if (!FD_ISSET(line, &set)) continue;
        uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
        int size = modbus_receive(bus, query);
        if (size > 0) modbus_reply(bus, query, size, map);
        else if (size < 0 && is_tcp) { close(line); line = -1; }
    }
}
