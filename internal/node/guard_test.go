package node

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestGuard(t *testing.T) {
	h := guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}), []string{"*.app.example:8443"})
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
		{"a page of a listed site", "127.0.0.1:8225", "https://a.APP.example:8443", 200},
		{"a listed site on another port", "127.0.0.1:8225", "https://a.app.example", 403},
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

// Pages on this machine and of listed sites may open a WebSocket at either door,
// whatever their port; others may not.
func TestOriginsOfWebSockets(t *testing.T) {
	for _, anonymous := range []bool{false, true} {
		cfg := testConfig(t.TempDir())
		cfg.AllowAnonymous, cfg.HTTPOrigins = anonymous, []string{"*.app.example"}
		n := start(t, cfg)
		for origin, want := range map[string]int{
			"http://localhost:3000":       http.StatusSwitchingProtocols,
			"http://LOCALHOST":            http.StatusSwitchingProtocols,
			"http://127.0.0.1:5173":       http.StatusSwitchingProtocols,
			"http://[::1]:3000":           http.StatusSwitchingProtocols,
			"https://a.app.example":       http.StatusSwitchingProtocols,
			"https://app.example":         http.StatusForbidden,
			"https://localhost.evil.test": http.StatusForbidden,
			"https://127.0.0.1.evil.test": http.StatusForbidden,
		} {
			for _, path := range []string{"/mqtt", "/nack"} {
				r, err := http.NewRequest("GET", "http://"+n.Addresses().HTTP+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				for k, v := range map[string]string{"Origin": origin, "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": path[1:]} {
					r.Header.Set(k, v)
				}
				client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
				res, err := client.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				res.Body.Close()
				if res.StatusCode != want {
					t.Errorf("allow-anonymous %v, %s from %s: status %d, want %d", anonymous, path, origin, res.StatusCode, want)
				}
			}
		}
	}
}
