"""What must never be called: addresses of the special-purpose registries, and URLs that parsers read differently.

From IANA's registries of special-purpose addresses (2025-10-09), what is known to reach metadata services, and the
tricks that parsers of other projects fell for.
"""

# ruff: noqa: RUF001  (look-alike digits are the point)

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

IPV4_SPECIAL = (
    *("0.0.0.0/8", "0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
    *("192.0.0.0/24", "192.0.0.0/29", "192.0.0.8/32", "192.0.0.9/32", "192.0.0.10/32", "192.0.0.170/32"),
    *("192.0.0.171/32", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.88.99.2/32"),
    *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4"),
    *("255.255.255.255/32", "224.0.0.0/4", "168.63.129.16/32"),
)

# All but the two that are judged by the IPv4 address inside.
IPV6_SPECIAL = (
    *("::1/128", "::/128", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001::/32", "2001:1::1/128"),
    *("2001:1::2/128", "2001:1::3/128", "2001:2::/48", "2001:3::/32", "2001:4:112::/48", "2001:10::/28"),
    *("2001:20::/28", "2001:30::/28", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20", "5f00::/16"),
    *("fc00::/7", "fe80::/10", "ff00::/8", "fec0::/10"),
)

METADATA = (
    *("169.254.169.254", "169.254.170.2", "169.254.169.253", "169.254.0.23", "100.100.100.200", "192.0.0.192"),
    *("168.63.129.16", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe"),
)

# Private IPv4 in IPv6 dress: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
DRESSED_UP = (
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0"),
    *("::ffff:192.168.0.1", "0:0:0:0:0:ffff:7f00:1", "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1"),
    *("::ffff:0:8.8.8.8", "64:ff9b::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1"),
    *("64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a00:1::1", "2002:808:808::1", "2002:a9fe:a9fe::1"),
    *("2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:808:808:0:0:f5ff:fffe", "2606:4700::5efe:10.0.0.1"),
    *("2606:4700::200:5efe:127.0.0.1", "2606:4700::5efe:a9fe:a9fe"),
)

# What a resolver should never answer, and what would mean more to the system than to us.
NO_ADDRESSES = (
    *("", " ", "localhost", "hook.example", "2130706433", "017700000001", "0x7f000001", "0x7f.1", "127.1", "0"),
    *("1.1.1.1/32", " 1.1.1.1", "1.1.1.1\n", "01.1.1.1", "1.1.1.256", "①②⑦.0.0.1", "１.1.1.1", "[::1]", "::1::"),
    *("fe80::1%eth0", "2606:4700::1%1", "1.1.1.1%lo", "\x00", "1.1.1.1\x00", "1.1.1.1:80", "8.8.8.8 127.0.0.1"),
)


def special_addresses() -> list[str]:
    """Both ends of every special block."""
    blocks = [ip_network(cidr) for cidr in (*IPV4_SPECIAL, *IPV6_SPECIAL)]
    return sorted({str(end) for block in blocks for end in (block[0], block[-1])})


BAD_ADDRESSES = (*special_addresses(), *METADATA, *DRESSED_UP)


def public_edges() -> Iterator[str]:
    """The last address before and the first after every special block, where that is nobody's special address."""
    v4 = [IPv4Network(cidr) for cidr in IPV4_SPECIAL]
    v6 = [IPv6Network(cidr) for cidr in IPV6_SPECIAL]
    unicast = IPv6Network("2000::/3")
    for block in (*v4, *v6):
        first, last = block[0], block[-1]
        for edge in (first - 1 if int(first) else first, last + 1 if int(last) < 2**block.max_prefixlen - 1 else last):
            is_special = any(edge in other for other in (*v4, *v6))
            if not is_special and (edge.version == 4 or edge in unicast):
                yield str(edge)
    yield from (str(unicast[0]), str(unicast[-1]))


PUBLIC_EDGES = sorted(
    {*public_edges(), "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"}
)

HOSTILE_URLS = [
    # numeric hosts in the dress that resolvers see through
    *("http://2130706433/", "http://017700000001/", "http://0x7f000001/", "http://0x7f.1/", "http://127.1/"),
    *("http://0/", "http://0x/", "http://1.2.3/", "http://1.2.3.4.5/", "http://127.0.0.01/", "http://example.1/"),
    *("http://256.1.1.1/", "http://example.0x7f/", "http://①②⑦.⓪.⓪.①/", "http://１２７.0.0.1/", "http://127。0。0。1/"),
    # hosts that end or begin wrongly
    *(
        "http://localhost./",
        "https://example.com./",
        "https://.example.com/",
        "https://example..com/",
        "https://-a.com/",
    ),
    *("https://a-.com/", "https:///path", "https://", "https://:443/", "https://" + "a" * 64 + ".com/"),
    "https://" + "a." * 127 + "com/",
    # credentials and what looks like them
    *("https://user:pass@example.com/", "https://user@example.com/", "https://@example.com/"),
    *("https://example.com@127.0.0.1/", "http://example.com\\@127.0.0.1/", "http://a.com\\.b.com/"),
    # brackets
    *(
        "http://[]",
        "http://[::1",
        "http://::1/",
        "http://[::1]%2f.example.com/",
        "http://[::1]x/",
        "http://[fe80::1%25eth0]/",
    ),
    *("http://[1.2.3.4]/", "http://[v1.x]/", "http://a[::1]/", "http://[::1]]/", "http://[[::1]]/"),
    # control characters, spaces, anything beyond ASCII
    *("https://example.com/\r\nX: 1", "https://exa\tmple.com/", "https://example.com/\x00", " https://example.com/"),
    *(
        "https://example.com/ ",
        "https://example.com/a b",
        "https://bücher.example/",
        "https://example.com/é",
        "https://a%2eb/",
    ),
    *("https://example.com\x7f/", "\u202ehttps://example.com/", "https://example\u3002com/"),
    # ports
    *("https://example.com:/", "https://example.com:0/", "https://example.com:65536/", "https://example.com:080/"),
    *("https://example.com:22/", "https://example.com:25/", "https://example.com:5432/", "https://example.com:6379/"),
    *(
        "https://example.com:11211/",
        "https://example.com:1023/",
        "https://example.com:+80/",
        "https://example.com:80:80/",
    ),
    *("https://example.com:８０/", "https://example.com:-1/", "https://[::]:81/"),
    # fragments, escapes, other schemes, not absolute, too long
    *(
        "https://example.com/#x",
        "https://example.com#",
        "https://example.com/%zz",
        "https://example.com/%",
        "https://example.com/?%4",
    ),
    *(
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://a/",
        "javascript:alert(1)",
        "data:,x",
        "unix:///run/x.sock",
    ),
    *("//example.com/", "example.com", "/path", "", "https:example.com", "https:/example.com", "http+unix://a/"),
    "https://example.com/" + "a" * 2048,
    "https://example.com/" + "^" * 1000,  # percent-encoded, it is three times as long
    # more dresses of 127.0.0.1 and of metadata services
    *(
        "http://0177.0.0.1/",
        "http://0x7f.0.0.1/",
        "http://127.0.1/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://017700000001./",
    ),
    *(
        "http://127.0.0.1./",
        "http://2852039166/",
        "http://0xA9FEA9FE/",
        "http://0251.0376.0251.0376/",
        "http://169.254.43518/",
    ),
    *(
        "http://127.0.0.1\u200b/",
        "http://127\uff0e0\uff0e0\uff0e1/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://loc\u00adalhost/",
    ),
    *(
        "http://ⓛocalhost/",
        "http://ＬＯＣＡＬＨＯＳＴ/",
        "http://localhost\u3002/",
        "http://ｅxample.com/",
        "http://exam\u2100ple.com/",
    ),
    # percent-encoded hosts and ports, which some decode
    *(
        "http://127%2e0%2e0%2e1/",
        "http://%31%32%37.0.0.1/",
        "http://localhost%00.example.com/",
        "http://example.com%2f@127.0.0.1/",
    ),
    *(
        "http://example.com%40127.0.0.1/",
        "http://127.0.0.1%3a80/",
        "http://[::1%25lo]/",
        "http://[::1%lo]/",
        "http://%5b::1%5d/",
    ),
    # where one parser sees the end of the host and another does not
    *("http://127.0.0.1\\@example.com/", "http://example.com:80\\@127.0.0.1/", "http://127.0.0.1;@example.com/"),
    *("http://example.com?@127.0.0.1/".replace("?", ";"), "http://127.0.0.1,example.com/", "http://a.com&@127.0.0.1/"),
    *(
        "http://127.0.0.1:80@example.com/",
        "http://example.com:@127.0.0.1/",
        "http://:80@127.0.0.1/",
        "http://@@127.0.0.1/",
    ),
    *(
        "http:///127.0.0.1/",
        "http:////127.0.0.1/",
        "http:127.0.0.1/",
        "http:/127.0.0.1/",
        "http:\\\\127.0.0.1/",
        "///127.0.0.1/",
    ),
    *("http://[::ffff:127.0.0.1/", "http://::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]:/", "http://[127.0.0.1]/"),
    *(
        "http://[0:0:0:0:0:0:0:0:1]/",
        "http://[:::1]/",
        "http://[::1]:80:80/",
        "http://[::1].example.com/",
        "http://[::g]/",
    ),
    # white space and control characters, which some strip
    *(
        "\thttp://example.com/",
        "http://example.com/\t",
        "ht\ntp://example.com/",
        "http:\n//127.0.0.1/",
        "http://exam\rple.com/",
    ),
    *(
        "http://example.com\n.evil.com/",
        "http://example.com%0d%0aHost:%20evil/",
        "http://example.com /",
        "http:// example.com/",
    ),
    *("http://example.com\x0b/", "http://example.com\x1f/", "\ufeffhttp://example.com/", "http://example.com\u2028/"),
    # ports
    *("http://example.com:6380/", "http://example.com:2375/", "http://example.com:9200/", "http://example.com:27017/"),
    *("http://example.com:80,443/", "http://example.com:0x50/", "http://example.com:080/", "http://example.com:8080a/"),
    *(
        "http://example.com:4294967376/",
        "http://example.com:65616/",
        "http://example.com: 80/",
        "http://example.com:%38%30/",
    ),
    # schemes
    *(
        "httpx://example.com/",
        "h\u0074tp\u0455://example.com/",
        "ws://example.com/",
        "dict://example.com:11211/",
        "ldap://a/",
    ),
    *("jar:http://example.com/", "view-source:http://a/", "url:http://example.com/", "http;//example.com/", "http//a/"),
]
