package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nackmq/nackmq/stream"
)

const (
	nodeFile   = "node.json"
	nodeFormat = 1
)

// identity is who a member is. Node and Cluster are drawn once and never change;
// a member that lost its disk comes back under another Node.
type identity struct {
	Cluster stream.ClusterID
	Node    stream.NodeID
	Life    uint32 // starts of this member; 0 until its first start is complete
	Created time.Time
}

// nodeJSON is how it stands in node.json. Check is a checksum of the rest: a
// member under a wrong name, or in a life it had before, would do harm.
type nodeJSON struct {
	Format  int       `json:"format"`
	Cluster string    `json:"cluster"`
	Node    string    `json:"node"`
	Life    uint32    `json:"life"`
	Created time.Time `json:"created"`
	Check   string    `json:"check"`
}

func (j nodeJSON) sum() string {
	j.Check = ""
	b, _ := json.Marshal(j)
	return fmt.Sprintf("%08x", crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func newIdentity() identity {
	return identity{Cluster: stream.ClusterID(random()), Node: stream.NodeID(random()), Created: time.Now().UTC().Truncate(time.Second)}
}

// random gives 63 random bits that are not all zero: raft has uses of its own for
// the largest numbers.
func random() uint64 {
	for {
		var b [8]byte
		rand.Read(b[:]) // never fails
		if n := binary.BigEndian.Uint64(b[:]) >> 1; n != 0 {
			return n
		}
	}
}

// readIdentity reads node.json. The error is fs.ErrNotExist if there is none.
func readIdentity(path string) (identity, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return identity{}, err
	} else if err != nil {
		return identity{}, refuse(err, "%s cannot be read: %v", path, err)
	}
	var j nodeJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return identity{}, damagedIdentity(path, err)
	}
	if j.Format > nodeFormat {
		return identity{}, refuse(nil, "%s has format %d and this version reads up to %d: start the version that wrote it, or a newer one", path, j.Format, nodeFormat)
	}
	c, err1 := strconv.ParseUint(j.Cluster, 16, 64)
	n, err2 := strconv.ParseUint(j.Node, 16, 64)
	if err := errors.Join(err1, err2); err != nil || c == 0 || n == 0 || j.Check != j.sum() {
		return identity{}, damagedIdentity(path, err)
	}
	return identity{stream.ClusterID(c), stream.NodeID(n), j.Life, j.Created}, nil
}

func damagedIdentity(path string, cause error) error {
	return refuse(cause, "%s is damaged: put back a copy of the whole directory if nothing was confirmed since it was made, or empty it and start with nothing", path)
}

// write replaces node.json: the old one is there until the new one is durable.
func (id identity) write(path string) error {
	j := nodeJSON{
		Format: nodeFormat, Life: id.Life, Created: id.Created,
		Cluster: id.Cluster.String(), Node: id.Node.String(),
	}
	j.Check = j.sum()
	b, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(append(b, '\n')).WriteTo(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
