// Somebody else's view of a V4L2 node, by the kernel's own calls, without libv4l2 and without Filoscope.
//
// usage: node read DEVICE SECONDS FILE     every frame that is captured in so many seconds, or until SIGTERM: length (4 bytes,
//                                          little-endian), frame
//        node keep DEVICE FOURCC WxH       makes a loopback node keep this format
//        node set DEVICE NAME VALUE        sets the control of that name; 1 presses a button
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static void check(int ok, const char *what) {
    if (ok) return;
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static volatile sig_atomic_t ends;

static void end(int signal) {
    (void)signal;
    ends = 1;
}

static void read_frames(int fd, double seconds, const char *path) {
    FILE *file = fopen(path, "wb");
    check(file != NULL, path);
    struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    check(ioctl(fd, VIDIOC_G_FMT, &format) == 0, "VIDIOC_G_FMT");
    fprintf(stderr, "reading %.4s %ux%u\n", (char *)&format.fmt.pix.pixelformat, format.fmt.pix.width,
            format.fmt.pix.height);
    struct v4l2_requestbuffers request = {.count = 4, .type = format.type, .memory = V4L2_MEMORY_MMAP};
    check(ioctl(fd, VIDIOC_REQBUFS, &request) == 0 && request.count <= 32, "VIDIOC_REQBUFS");
    void *start[32];
    for (uint32_t i = 0; i < request.count; i++) {
        struct v4l2_buffer buffer = {.index = i, .type = format.type, .memory = V4L2_MEMORY_MMAP};
        check(ioctl(fd, VIDIOC_QUERYBUF, &buffer) == 0, "VIDIOC_QUERYBUF");
        start[i] = mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, fd, buffer.m.offset);
        check(start[i] != MAP_FAILED, "mmap");
        check(ioctl(fd, VIDIOC_QBUF, &buffer) == 0, "VIDIOC_QBUF");
    }
    check(ioctl(fd, VIDIOC_STREAMON, &format.type) == 0, "VIDIOC_STREAMON");
    signal(SIGTERM, end);
    for (double limit = now() + seconds; !ends && now() < limit;) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        if (poll(&entry, 1, 100) <= 0) continue;
        struct v4l2_buffer buffer = {.type = format.type, .memory = V4L2_MEMORY_MMAP};
        if (ioctl(fd, VIDIOC_DQBUF, &buffer) != 0) {
            if (errno == EAGAIN) continue;
            break; // the producer has gone
        }
        uint32_t length = buffer.bytesused;
        check(fwrite(&length, 4, 1, file) == 1 && fwrite(start[buffer.index], 1, length, file) == length, "write");
        check(ioctl(fd, VIDIOC_QBUF, &buffer) == 0, "VIDIOC_QBUF");
    }
    check(fclose(file) == 0, path);
}

static uint32_t control(int fd, const char *name) {
    struct v4l2_queryctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
    for (; ioctl(fd, VIDIOC_QUERYCTRL, &query) == 0; query.id |= V4L2_CTRL_FLAG_NEXT_CTRL)
        if (strcmp((const char *)query.name, name) == 0) return query.id;
    errno = ENOENT;
    check(0, name);
    return 0;
}

static void set(int fd, const char *name, int value) {
    struct v4l2_control setting = {.id = control(fd, name), .value = value};
    check(ioctl(fd, VIDIOC_S_CTRL, &setting) == 0, name);
}

int main(int count, char **words) {
    if (count < 4) return 2;
    int fd = open(words[2], O_RDWR | O_NONBLOCK);
    check(fd >= 0, words[2]);
    if (strcmp(words[1], "read") == 0 && count == 5) {
        read_frames(fd, atof(words[3]), words[4]);
    } else if (strcmp(words[1], "keep") == 0 && count == 5) {
        struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_OUTPUT};
        check(sscanf(words[4], "%ux%u", &format.fmt.pix.width, &format.fmt.pix.height) == 2, words[4]);
        memcpy(&format.fmt.pix.pixelformat, words[3], 4);
        format.fmt.pix.sizeimage = format.fmt.pix.width * format.fmt.pix.height * 4;
        check(ioctl(fd, VIDIOC_S_FMT, &format) == 0, "VIDIOC_S_FMT");
        set(fd, "keep_format", 1);
        // A loopback node's format is fixed by what is written first.
        check(write(fd, "\xff\xd8\xff\xd9", 4) == 4, "write");
    } else if (strcmp(words[1], "set") == 0 && count == 5) {
        set(fd, words[3], atoi(words[4]));
    } else {
        return 2;
    }
    return 0;
}
