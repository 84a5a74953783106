package bridge

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/nackmq/nackmq/broker/brokertest"
	"github.com/nackmq/nackmq/stream"
)

// BenchmarkComeBack is how long it takes kept sessions, each with 100 missed
// messages on a subject of its own, to get them when all come back at once.
func BenchmarkComeBack(b *testing.B) {
	const sessions, missed = 1000, 100
	for range b.N {
		b.StopTimer()
		log := brokertest.NewLocal(b, stream.Limits{})
		h := newHouseOver(b, log)
		for i := range sessions {
			p := h.connect(4, fmt.Sprint(i), keep)
			p.subscribe(1, sub(fmt.Sprintf("own/%d", i), 1))
			p.goodbye()
		}
		var wg sync.WaitGroup
		for k := range missed {
			for i := range sessions {
				wg.Add(1)
				log.Publish(stream.Item{Publication: stream.Publication{Subject: stream.Subject(fmt.Sprintf("/own/%d", i)),
					Payload: []byte(strconv.Itoa(k)), Flags: q1}}, func(stream.Place, error) { wg.Done() })
			}
		}
		wg.Wait()
		took := make([]time.Duration, sessions)
		b.StartTimer()
		for i := range sessions {
			wg.Add(1)
			go func() {
				defer wg.Done()
				start := time.Now()
				p := h.connect(4, fmt.Sprint(i), keep)
				for range missed {
					m := p.want(packets.Publish)
					p.send(ackOf(packets.Puback, m.PacketID))
				}
				took[i] = time.Since(start)
				p.nc.Close()
			}()
		}
		wg.Wait()
		b.StopTimer()
		slices.Sort(took)
		b.ReportMetric(float64(took[sessions*99/100].Milliseconds()), "p99-ms")
		_ = h.Close()
	}
}

// What the frames of one message cost for 100 receivers: plain, with its position,
// with an alias instead of the topic, and each with an identifier of its own.
func BenchmarkFrames(b *testing.B) {
	of := stream.Message{Publication: stream.Publication{Subject: "/sensor/temp", Payload: make([]byte, 64), Flags: q1},
		Position: stream.Position{Epoch: 1, Seq: 1}, Index: 1}
	for _, c := range []struct {
		name  string
		o     own
		alias int
	}{{"plain", own{}, 0}, {"position", own{where: true}, 0}, {"alias", own{}, 8}, {"identifier", own{ids: []uint32{7}}, 0}} {
		b.Run(c.name, func(b *testing.B) {
			l := &loop{}
			var sessions []*session
			for range 100 {
				sessions = append(sessions, &session{client: &client{version: 5, maxAlias: c.alias}})
			}
			for b.Loop() {
				l.msg.reset(of, 0)
				for _, s := range sessions {
					l.frameFor(s, &l.msg, 1, false, c.o)
					if l.beside != nil {
						l.beside.known = true
					}
				}
			}
		})
	}
}
