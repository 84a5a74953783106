package node

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
)

// guard keeps web pages of other sites away from a node that lets in everybody
// on this machine: a browser on it would otherwise carry their requests. A page
// is told by its Origin, and those of origins are let in; a name that was made to
// point here by its Host.
func guard(next http.Handler, origins []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r.Host) {
			http.Error(w, "this node answers to localhost and to loopback addresses only", http.StatusMisdirectedRequest)
			return
		}
		if origin := r.Header.Get("Origin"); origin != "" {
			u, err := url.Parse(origin)
			if err != nil || !isLocal(u.Host) && !isListed(u.Host, origins) {
				http.Error(w, "this node takes requests from pages on this machine and of http-origins only", http.StatusForbidden)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackOrigins are the patterns of pages on this machine. Their hosts have no
// wildcard: 127.* would match a name of somebody's.
var loopbackOrigins = []string{"localhost", "localhost:*", "127.0.0.1", "127.0.0.1:*", `\[::1\]`, `\[::1\]:*`}

// isListed reports whether HOST or HOST:PORT matches one of the patterns, which
// the configuration has checked.
func isListed(hostport string, patterns []string) bool {
	for _, p := range patterns {
		if is, _ := path.Match(strings.ToLower(p), strings.ToLower(hostport)); is {
			return true
		}
	}
	return false
}

// isLocal reports whether HOST or HOST:PORT is localhost or a loopback address.
func isLocal(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	if len(host) > 2 && host[0] == '[' {
		host = host[1 : len(host)-1]
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
