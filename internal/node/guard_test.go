package node

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestGuard(t *testing.T) {
	h := guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	for _, tt := range []struct {
		name, host, origin string
		want               int
	}{
		{"a program on this machine", "127.0.0.1:8225", "", 200},
		{"by name", "localhost:8225", "", 200},
		{"by name without a port", "localhost", "", 200},
		{"by IPv6", "[::1]:8225", "", 200},
		{"by IPv6 without a port", "[::1]", "", 200},
		{"a page on this machine", "localhost:8225", "http://127.0.0.1:3000", 200},
		{"a page of another site", "127.0.0.1:8225", "https://example.com", 403},
		{"a page from a file", "127.0.0.1:8225", "null", 403},
		{"a name that points here", "rebound.example.com:8225", "", 421},
		{"both", "rebound.example.com:8225", "http://rebound.example.com:8225", 421},
		{"no host", "", "", 421},
		{"half a bracket", "[::1", "", 421},
		{"another address", "192.0.2.1:8225", "", 421},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/nack", nil)
			r.Host = tt.host
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("host %q, origin %q: status %d, want %d", tt.host, tt.origin, w.Code, tt.want)
			}
		})
	}
}
