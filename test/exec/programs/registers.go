// Loads and stores of the registers of examples/registers from goroutines, while Go's scheduler
// interrupts them by signals and its collector runs. Prints what is wrong, and exits with how much.
//
//	registers ADDRESS
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"
)

const (
	id, readToClear, writes, reads = 0x00, 0x08, 0x18, 0x1c
	barBytes                       = 0x2000
	goroutines, rounds             = 8, 250

	setContainer, setIommu, getDevice = 0x3b68, 0x3b66, 0x3b6a
)

var (
	bar   []byte
	wrong int

	garbage atomic.Value
)

func register(offset int) *uint32 { return (*uint32)(unsafe.Pointer(&bar[offset])) }

func check(what string, is, should any) {
	if is != should {
		wrong++
		fmt.Printf("%s: %v, not %v\n", what, is, should)
	}
}

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(101)
	}
}

func ioctl(fd int, request, argument uintptr) int {
	result, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), request, argument)
	if errno != 0 {
		must(fmt.Sprintf("ioctl %#x", request), errno)
	}
	return int(result)
}

func open(path string) int {
	fd, err := syscall.Open(path, syscall.O_RDWR, 0)
	must(path, err)
	return fd
}

// faults runs a function, and returns the runtime's error where it touches what it must not.
func faults(touch func()) (text string) {
	defer func() {
		if err, is := recover().(runtime.Error); is {
			text = err.Error()
		}
	}()
	touch()
	return ""
}

func main() {
	address := os.Args[1]
	link, err := os.Readlink("/sys/bus/pci/devices/" + address + "/iommu_group")
	must("iommu_group", err)
	container, group := open("/dev/vfio/vfio"), open("/dev/vfio/"+filepath.Base(link))
	number := int32(container)
	ioctl(group, setContainer, uintptr(unsafe.Pointer(&number)))
	ioctl(container, setIommu, 1)
	name := append([]byte(address), 0)
	device := ioctl(group, getDevice, uintptr(unsafe.Pointer(&name[0])))
	bar, err = syscall.Mmap(device, 0, barBytes, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must("mmap", err)

	check("identification", *register(id), uint32(0x10f1de51))
	check("read to clear", *register(readToClear), uint32(0xdeadbeef))
	check("what was cleared", *register(readToClear), uint32(0))
	writesBefore, readsBefore := *register(writes), *register(reads)
	var all sync.WaitGroup
	for i := 0; i < goroutines; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			for round := 0; round < rounds; round++ {
				*register(writes) = 7
				// Not *register(reads): the compiler may read it once more, to see that it is not nil.
				count := atomic.LoadUint32(register(reads))
				garbage.Store(make([]uint32, count%64))
				if round%50 == 0 {
					runtime.GC()
				}
			}
		}()
	}
	all.Wait()
	check("writes", *register(writes)-writesBefore, uint32(goroutines*rounds))
	check("reads", *register(reads)-readsBefore, uint32(goroutines*rounds+1))

	const isNil = "runtime error: invalid memory address or nil pointer dereference"
	var nothing *uint32
	check("a nil pointer", faults(func() { *nothing = 1 }), isNil)
	debug.SetPanicOnFault(true)
	must("mprotect", syscall.Mprotect(bar, syscall.PROT_READ))
	check("a write to what can be read", faults(func() { *register(writes) = 1 }), isNil)
	check("identification, read", *register(id), uint32(0x10f1de51))
	must("munmap", syscall.Munmap(bar))
	os.Exit(wrong)
}
