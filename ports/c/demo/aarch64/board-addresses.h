// QEMU's virt machine for aarch64. The addresses have been the same since it exists; a device tree would tell them as well.

#define BOARD_UART 0x09000000 // PL011
#define BOARD_VIRTIO 0x0a000000
#define BOARD_VIRTIO_STRIDE 0x200
#define BOARD_VIRTIO_SIZE 0x200
#define BOARD_VIRTIO_SLOTS 32
