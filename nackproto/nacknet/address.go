package nacknet

import (
	"fmt"
	"net"
	"net/url"
)

// Ports that a URL without one means. PROTOCOL.md §8.
const (
	plainPort  = "6225"
	securePort = "6226"
)

// An address is where a server is and how one speaks to it.
type address struct {
	scheme   string // nack, nacks, ws, wss
	hostport string // for nack and nacks
	host     string
	url      string // as given; what it is known by
}

func parseAddress(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return address{}, fmt.Errorf("nacknet: %q is not a server: write nack://HOST:PORT, nacks://HOST:PORT, ws://HOST:PORT/nack or wss://HOST:PORT/nack", s)
	}
	a := address{scheme: u.Scheme, host: u.Hostname(), url: s}
	port := u.Port()
	switch u.Scheme {
	case "nack", "nacks":
		if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
			return address{}, fmt.Errorf("nacknet: %q has more than HOST and PORT; the token goes into the configuration", s)
		}
		if port == "" {
			port = plainPort
			if u.Scheme == "nacks" {
				port = securePort
			}
		}
		a.hostport = net.JoinHostPort(a.host, port)
	case "ws", "wss":
	default:
		return address{}, fmt.Errorf("nacknet: %q: scheme %q is none of nack, nacks, ws, wss", s, u.Scheme)
	}
	return a, nil
}

func (a address) secure() bool { return a.scheme == "nacks" || a.scheme == "wss" }

// local reports whether the address is on this machine.
func (a address) local() bool {
	ip := net.ParseIP(a.host)
	return a.host == "localhost" || ip != nil && ip.IsLoopback()
}
