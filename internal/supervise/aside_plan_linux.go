package supervise

import (
	"cmp"
	"os"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel's names for what it tells a program at its start (getauxval(3)).
const (
	auxHeaders     = 3  // AT_PHDR
	auxHeaderSize  = 4  // AT_PHENT
	auxHeaderCount = 5  // AT_PHNUM
	auxKernelCode  = 33 // AT_SYSINFO_EHDR
	auxFile        = 31 // AT_EXECFN
)

// A segment is an entry of the program's header table (elf(5), 64 bits).
type segment struct {
	kind    uint32
	_       uint32 // flags
	_       uint64 // offset in the file
	address uint64
	_       [2]uint64 // physical address, size in the file
	size    uint64
	_       uint64 // alignment
}

// plan finds out what memory the process may give back. It may give back none where that can't be
// told: it costs only memory. shared is what must stay, besides the stack.
func (a *aside) plan(shared, size uintptr) {
	aux, err := unix.Auxv()
	if err != nil || unsafe.Sizeof(uintptr(0)) != 8 {
		return
	}
	known := map[uintptr]uintptr{}
	for _, entry := range aux {
		known[entry[0]] = entry[1]
	}
	image := imageOf(known)
	if image.to == 0 {
		return
	}
	keep := []span{image, {shared, shared + size}}
	if code := known[auxKernelCode]; code != 0 {
		// It may be sealed (mseal(2)), and nothing of a range that it is in is given back then.
		const around = 64 << 10
		keep = append(keep, span{code - around, code + around})
	}
	if named := a.findTitle(known[auxFile]); named.to != 0 {
		keep = append(keep, named)
	}
	a.idle = a.pages(image)
	a.gaps(keep)
}

// imageOf returns where the program's file is in memory, with its variables.
func imageOf(known map[uintptr]uintptr) (image span) {
	const load, headers = 1, 6 // PT_LOAD, PT_PHDR
	table := known[auxHeaders]
	if table == 0 || known[auxHeaderSize] != unsafe.Sizeof(segment{}) {
		return span{}
	}
	// A pointer to what the kernel has mapped: no uintptr is turned into one here.
	first := *(**segment)(unsafe.Pointer(&table))
	all := unsafe.Slice(first, known[auxHeaderCount])
	shift := uintptr(0) // of a program that may be anywhere
	for _, s := range all {
		if s.kind == headers {
			shift = table - uintptr(s.address)
		}
	}
	for _, s := range all {
		if s.kind != load {
			continue
		}
		from, to := shift+uintptr(s.address), shift+uintptr(s.address+s.size)
		if image.to == 0 || from < image.from {
			image.from = from
		}
		image.to = max(image.to, to)
	}
	return image
}

// findTitle notes where the arguments and the environment are that this process was started with:
// between the first argument and the name of the program's file.
func (a *aside) findTitle(file uintptr) span {
	const most = 8 << 20 // of arguments and environment, by execve(2)
	if len(os.Args) == 0 || file == 0 {
		return span{}
	}
	first := unsafe.Pointer(unsafe.StringData(os.Args[0]))
	if at := uintptr(first); at >= file || file-at > most {
		return span{}
	}
	a.title, a.titleSize = first, file-uintptr(first)
	return span{uintptr(first), file}
}

// pages widens a span to whole pages.
func (a *aside) pages(s span) span {
	return span{s.from &^ (a.page - 1), (s.to + a.page - 1) &^ (a.page - 1)}
}

// gaps notes what lies between the spans that are kept.
func (a *aside) gaps(keep []span) {
	slices.SortFunc(keep, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	within := droppable()
	last, n := uintptr(0), 0
	for _, s := range keep {
		s = a.pages(s)
		gap := span{max(last, within.from), min(s.from, within.to)}
		if gap.from < gap.to {
			a.drop[n] = gap
			n++
		}
		last = max(last, s.to)
	}
	if within.to != ^uintptr(0) {
		return
	}
	a.tops[0] = last
	// Where the memory of a process ends depends on the processor and on the kernel's build.
	for i, bits := range []int{56, 52, 48, 47, 42, 39, 38} {
		a.tops[1+i] = 1<<bits - a.page
	}
}
