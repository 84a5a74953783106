package stream

// pageSlots is how many slots are copied at the first write after a view was
// taken: small enough that Apply does not feel it.
const pageSlots = 256

// pages is an array that can be looked at as it was while it is written to: view
// costs a pointer a page, and the first write to a page after it copies the page.
// Slots are given out by take and come back by give.
type pages[T any] struct {
	list []*page[T]
	free []uint32 // slots given back, last one first to go
	next uint32   // slots below it were given out at least once
	age  uint32   // pages of a lower age are shared with a view
}

type page[T any] struct {
	age   uint32
	slots [pageSlots]T
}

// take gives a slot that holds T's zero value.
func (p *pages[T]) take() uint32 {
	if n := len(p.free); n > 0 {
		i := p.free[n-1]
		p.free = p.free[:n-1]
		return i
	}
	if int(p.next) == len(p.list)*pageSlots {
		p.list = append(p.list, &page[T]{age: p.age})
	}
	p.next++
	return p.next - 1
}

// give takes slot i back and clears it.
func (p *pages[T]) give(i uint32) {
	var zero T
	*p.edit(i) = zero
	p.free = append(p.free, i)
}

// at looks at slot i, which the caller does not write to.
func (p *pages[T]) at(i uint32) *T { return &p.list[i/pageSlots].slots[i%pageSlots] }

// edit gives slot i for writing. The pointer is good until the next view.
func (p *pages[T]) edit(i uint32) *T {
	pg := p.list[i/pageSlots]
	if pg.age != p.age {
		cp := *pg
		cp.age = p.age
		pg = &cp
		p.list[i/pageSlots] = pg
	}
	return &pg.slots[i%pageSlots]
}

// used is how many slots are given out.
func (p *pages[T]) used() int { return int(p.next) - len(p.free) }

// view gives p as it is now; nobody writes to it.
func (p *pages[T]) view() pages[T] {
	p.age++
	return pages[T]{
		list: append([]*page[T](nil), p.list...),
		free: append([]uint32(nil), p.free...),
		next: p.next,
	}
}
