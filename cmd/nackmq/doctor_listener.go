package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A listener is a socket that listens, as Linux tells it in /proc/net/tcp.
type listener struct {
	addr  netip.AddrPort
	inode string
}

// listeners gives the sockets that listen on this machine; none where that cannot
// be known.
func listeners() (all []listener) {
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // TCP_LISTEN
				continue
			}
			if addr, ok := procAddress(f[1]); ok {
				all = append(all, listener{addr, f[9]})
			}
		}
	}
	return all
}

// procAddress reads ADDRESS:PORT in hexadecimal; each four bytes of the address
// are in the order of a little-endian machine, as all that we build for are.
func procAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}

// ownerOf gives the process that listens on addr, and all that it listens on. 0:
// it cannot be known, for instance because it is another user's.
func ownerOf(addr string) (pid int, its []netip.AddrPort) {
	host, text, err := net.SplitHostPort(addr)
	port, perr := strconv.ParseUint(text, 10, 16)
	if err != nil || perr != nil {
		return 0, nil
	}
	ip, _ := netip.ParseAddr(host) // a name or nothing: every address
	all := listeners()
	taken := map[string]bool{}
	for _, l := range all {
		on := l.addr.Addr()
		if l.addr.Port() == uint16(port) && (!ip.IsValid() || ip.IsUnspecified() || on.IsUnspecified() || on == ip.Unmap()) {
			taken["socket:["+l.inode+"]"] = true
		}
	}
	dirs, _ := filepath.Glob("/proc/[0-9]*/fd")
	for _, dir := range dirs {
		open := map[string]bool{}
		found := false
		fds, _ := os.ReadDir(dir)
		for _, fd := range fds {
			target, _ := os.Readlink(filepath.Join(dir, fd.Name()))
			open[target] = true
			found = found || taken[target]
		}
		if !found {
			continue
		}
		pid, _ = strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		for _, l := range all {
			if open["socket:["+l.inode+"]"] {
				its = append(its, l.addr)
			}
		}
		return pid, its
	}
	return 0, nil
}

// listenerOf names who listens on addr.
func listenerOf(addr string) string {
	pid, _ := ownerOf(addr)
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if pid == 0 || err != nil {
		return "another program"
	}
	return fmt.Sprintf("process %d (%s)", pid, strings.TrimSpace(string(name)))
}

// nodeBehind gives the node that listens on addr and its HTTP address; nil: it is
// none, or that cannot be known.
func nodeBehind(ctx context.Context, addr string) (*nodeStatus, string) {
	_, its := ownerOf(addr)
	for _, a := range its[:min(len(its), 8)] {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		s, err := askNode(ctx, a.String())
		cancel()
		if err == nil {
			return s, a.String()
		}
	}
	return nil, ""
}
