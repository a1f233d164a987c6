"""The other end of the cable: `serve` plays a web server, a name server and a controller; anything else is a client."""
import os, socket, struct, sys, threading

PEER = "10.77.0.2"


def tcp(port, answer):
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((PEER, port))
    listener.listen(64)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=answer, args=(stream,), daemon=True).start()


def web(stream):
    stream.recv(4096)
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    stream.close()


def controller(stream):
    while request := stream.recv(260):
        transaction, _, _, unit, _ = struct.unpack(">HHHBB", request[:8])
        pdu = request[7:12]
        stream.sendall(struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu)


def names(udp):
    while True:
        query, asker = udp.recvfrom(2048)
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton("10.77.0.99")
        udp.sendto(query[:2] + b"\x81\x80" + query[4:6] + b"\0\1" + query[8:12] + query[12:] + answer, asker)


def serve():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((PEER, 53))
    for port, answer in ((80, web), (502, controller)):
        threading.Thread(target=tcp, args=(port, answer), daemon=True).start()
    names(udp)


def connect(port):
    stream = socket.create_connection((PEER, port), timeout=5)
    return stream


def http():
    stream = connect(80)
    stream.sendall(b"GET /watchpost-test HTTP/1.1\r\nHost: plc.lab\r\nAuthorization: Basic dTpw\r\n\r\n")
    stream.recv(4096)
    stream.close()


def detection():
    dns(("watchpost-detection", "test"))


def dns(labels=("hmi", "lab", "test")):
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(5)
    name = b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0\0\1\0\1"
    udp.sendto(os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + name, (PEER, 53))
    udp.recv(2048)


def modbus():
    stream = connect(502)
    pdu = b"\x05\x00\x01\xff\x00"
    stream.sendall(struct.pack(">HHHB", 1, 0, len(pdu) + 1, 1) + pdu)
    stream.recv(260)
    stream.close()


def dhcp():
    """A lease that is asked for and given, as frames: nobody here has a DHCP server."""
    raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    raw.bind(("sens0", 0))
    client = bytes.fromhex("020000000042")

    def frame(source, target, ends, ports, payload):
        udp = struct.pack(">HHHH", *ports, 8 + len(payload), 0) + payload
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
        head += b"".join(map(socket.inet_aton, ends))
        total = sum(struct.unpack(">10H", head))
        total = (total >> 16) + (total & 0xFFFF)
        check = ~(total + (total >> 16)) & 0xFFFF
        raw.send(target + source + b"\x08\0" + head[:10] + struct.pack(">H", check) + head[12:] + udp)

    def message(op, kind, address, options=b""):
        fixed = struct.pack(">BBBBIHH", op, 1, 6, 0, 0x1234, 0, 0) + bytes(4) + socket.inet_aton(address) + bytes(8)
        fixed += client + bytes(10 + 64 + 128) + bytes.fromhex("63825363")
        return fixed + bytes([53, 1, kind]) + options + b"\xff"

    ask = message(1, 3, "0.0.0.0", bytes([12, 5]) + b"plc-7")
    frame(client, b"\xff" * 6, ("0.0.0.0", "255.255.255.255"), (68, 67), ask)
    give = message(2, 5, "10.77.0.77", bytes([51, 4, 0, 0, 14, 16]))
    frame(bytes.fromhex("020000000001"), client, ("10.77.0.2", "10.77.0.77"), (67, 68), give)


def flood():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for _ in range(200_000):
        udp.sendto(b"x" * 64, (PEER, 4000))


if __name__ == "__main__":
    {f.__name__: f for f in (serve, http, dns, detection, modbus, dhcp, flood)}[sys.argv[1]]()
