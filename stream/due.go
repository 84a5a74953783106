package stream

import "container/heap"

// A dueHeap has the moments at which something happens to slots by itself, the
// first one in front. Slots that are due at the same time come in the order of
// their numbers, on every member.
type dueHeap struct {
	list []dueAt
	at   map[uint32]int // where a slot is in list
}

type dueAt struct {
	at   int64 // log time, Unix milliseconds
	slot uint32
}

// first gives the front; false: the heap is empty.
func (d *dueHeap) first() (dueAt, bool) {
	if len(d.list) == 0 {
		return dueAt{}, false
	}
	return d.list[0], true
}

// set says when slot is due; 0: never.
func (d *dueHeap) set(slot uint32, at int64) {
	i, known := d.at[slot]
	switch {
	case at == 0 && known:
		heap.Remove((*dueSlots)(d), i)
	case at == 0:
	case known && d.list[i].at != at:
		d.list[i].at = at
		heap.Fix((*dueSlots)(d), i)
	case !known:
		if d.at == nil {
			d.at = make(map[uint32]int)
		}
		heap.Push((*dueSlots)(d), dueAt{at, slot})
	}
}

// dueSlots is a dueHeap as container/heap wants it.
type dueSlots dueHeap

func (d *dueSlots) Len() int { return len(d.list) }
func (d *dueSlots) Less(i, j int) bool {
	a, b := d.list[i], d.list[j]
	return a.at < b.at || a.at == b.at && a.slot < b.slot
}
func (d *dueSlots) Swap(i, j int) {
	d.list[i], d.list[j] = d.list[j], d.list[i]
	d.at[d.list[i].slot], d.at[d.list[j].slot] = i, j
}
func (d *dueSlots) Push(x any) {
	d.at[x.(dueAt).slot] = len(d.list)
	d.list = append(d.list, x.(dueAt))
}
func (d *dueSlots) Pop() any {
	last := d.list[len(d.list)-1]
	d.list = d.list[:len(d.list)-1]
	delete(d.at, last.slot)
	return last
}
