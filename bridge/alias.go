package bridge

import "github.com/nackmq/nackmq/stream"

// A client that takes topic aliases (MQTT 5, 3.3.2.3.4) gets one for a topic that
// comes a second time. Who has how many aliases is the client's choice; maxAliases
// bounds what we keep for it.
const maxAliases = 64

// aliasLeast is the length of a topic from which an alias of 3 bytes pays: once told
// beside the topic, it saves more from the next time on.
const aliasLeast = 7

// aliasUse is what stands in a PUBLISH.
type aliasUse uint8

const (
	aliasNone    aliasUse = iota // the topic
	aliasBeside                  // the topic and the alias that it has from here on
	aliasInstead                 // the alias
	aliasUses
)

// A topicAlias is the topic that came last among those that share an alias, which is
// a subject's SubjectID modulo their number: no list to search, none to grow. With a
// few topics each has its own.
type topicAlias struct {
	epoch stream.Epoch
	id    stream.SubjectID
	known bool // the client was told it
}

// aliasFor gives the alias of m's topic for the client.
func (c *client) aliasFor(m *message) (uint16, aliasUse) {
	if m.Index == 0 || len(m.Subject) <= aliasLeast { // $SYS has no SubjectID
		return 0, aliasNone
	}
	if c.topics == nil {
		c.topics = make([]topicAlias, c.maxAlias)
	}
	i := int(uint32(m.ID) % uint32(len(c.topics)))
	t := &c.topics[i]
	switch {
	case t.id != m.ID || t.epoch != m.Position.Epoch:
		*t = topicAlias{epoch: m.Position.Epoch, id: m.ID}
		return 0, aliasNone
	case !t.known:
		return uint16(i + 1), aliasBeside
	}
	return uint16(i + 1), aliasInstead
}
