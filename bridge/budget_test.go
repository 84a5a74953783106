package bridge

import (
	"fmt"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Publishers wait when what all of them have uncommitted is too much; one that
// hangs up meanwhile is let go.
func TestBudgetOfUncommitted(t *testing.T) {
	t.Parallel()
	slow := &slowPublisher{}
	h := newHouse(t, slowly(slow), func(c *Config) { c.Uncommitted = 10_000 })
	body := strings.Repeat("x", 4000)
	var peers []*peer
	for i := range 5 {
		p := h.connect(4, fmt.Sprint(i))
		p.send(pub("t", body, 1, 1))
		peers = append(peers, p)
	}
	eventually(t, "three are handed in", func() bool { return slow.waiting() == 3 })
	for _, p := range peers {
		p.send(pub("t", body, 2, 2))
	}
	if n := slow.waiting(); n != 3 {
		t.Errorf("%d handed in, want 3", n)
	}
	for i := 0; i < 10; i++ {
		eventually(t, "the next is handed in", func() bool { return slow.waiting() > i })
		slow.finish(i, nil)
	}
	for _, p := range peers {
		p.want(packets.Puback)
		p.want(packets.Pubrec)
	}
	for _, p := range peers {
		p.send(pub("t", body, 0, 0))
	}
	eventually(t, "three are handed in", func() bool { return slow.waiting() == 13 })
	if err := h.Close(); err != nil { // does not hang
		t.Fatal(err)
	}
}
