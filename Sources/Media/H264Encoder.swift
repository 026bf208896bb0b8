import COpenH264
import Video

/// H.264 through libopenh264: constant quality, every frame kept, one key frame a second.
final class H264Encoder {
    /// One encoded picture: NAL units without start codes, parameter sets left out.
    struct Picture {
        var units: [[UInt8]]
        var isKey: Bool
    }

    /// About visually lossless for flat-coloured pictures.
    private static let quantizer: Int32 = 18
    /// The library's smallest side.
    static let minimumSide = 16

    private let encoder: UnsafeMutablePointer<ISVCEncoder?>
    private(set) var sequenceParameters: [UInt8] = []
    private(set) var pictureParameters: [UInt8] = []

    init(width: Int, height: Int, fps: Int) throws(MediaError) {
        var made: UnsafeMutablePointer<ISVCEncoder?>?
        guard WelsCreateSVCEncoder(&made) == 0, let encoder = made else {
            throw .codec("libopenh264", reason: "no encoder")
        }
        self.encoder = encoder
        var silent: Int32 = 0  // WELS_LOG_QUIET
        _ = encoder.pointee!.pointee.SetOption(encoder, ENCODER_OPTION_TRACE_LEVEL, &silent)

        var parameters = SEncParamExt()
        _ = encoder.pointee!.pointee.GetDefaultParams(encoder, &parameters)
        parameters.iUsageType = CAMERA_VIDEO_REAL_TIME
        parameters.iPicWidth = Int32(width)
        parameters.iPicHeight = Int32(height)
        parameters.fMaxFrameRate = Float(fps)
        parameters.iRCMode = RC_OFF_MODE
        parameters.iTargetBitrate = 5_000_000
        parameters.iMinQp = Self.quantizer
        parameters.iMaxQp = Self.quantizer
        parameters.uiIntraPeriod = UInt32(max(fps, 1))
        parameters.bEnableFrameSkip = false
        parameters.bEnableDenoise = false
        parameters.bEnableBackgroundDetection = false
        parameters.bEnableAdaptiveQuant = false
        parameters.bEnableSceneChangeDetect = false
        parameters.iMultipleThreadIdc = 1
        parameters.iEntropyCodingModeFlag = 0
        parameters.eSpsPpsIdStrategy = CONSTANT_ID
        parameters.iSpatialLayerNum = 1
        parameters.iTemporalLayerNum = 1
        parameters.sSpatialLayers.0.iVideoWidth = Int32(width)
        parameters.sSpatialLayers.0.iVideoHeight = Int32(height)
        parameters.sSpatialLayers.0.fFrameRate = Float(fps)
        parameters.sSpatialLayers.0.iSpatialBitrate = 5_000_000
        parameters.sSpatialLayers.0.iDLayerQp = Self.quantizer
        parameters.sSpatialLayers.0.uiProfileIdc = PRO_BASELINE
        parameters.sSpatialLayers.0.sSliceArgument.uiSliceMode = SM_SINGLE_SLICE
        guard encoder.pointee!.pointee.InitializeExt(encoder, &parameters) == 0 else {
            throw .codec("libopenh264", reason: "it does not take \(width)x\(height) at \(fps) frames a second")
        }
    }

    deinit {
        _ = encoder.pointee!.pointee.Uninitialize(encoder)
        WelsDestroySVCEncoder(encoder)
    }

    /// - Parameter milliseconds: when the picture is shown.
    func encode(_ picture: YUV420, milliseconds: Int) throws(MediaError) -> Picture {
        var source = SSourcePicture()
        source.iColorFormat = Int32(videoFormatI420.rawValue)
        source.iPicWidth = Int32(picture.width)
        source.iPicHeight = Int32(picture.height)
        source.iStride = (Int32(picture.width), Int32(picture.width / 2), Int32(picture.width / 2), 0)
        source.uiTimeStamp = Int64(milliseconds)
        var planes = picture.luma + picture.blue + picture.red
        var info = SFrameBSInfo()
        let status = planes.withUnsafeMutableBufferPointer { planes in
            let blue = planes.baseAddress! + picture.luma.count
            source.pData = (planes.baseAddress, blue, blue + picture.blue.count, nil)
            return encoder.pointee!.pointee.EncodeFrame(encoder, &source, &info)
        }
        guard status == 0 else { throw .codec("libopenh264", reason: "error \(status)") }

        var result = Picture(units: [], isKey: info.eFrameType == videoFrameTypeIDR)
        withUnsafeBytes(of: &info.sLayerInfo) { raw in
            for layer in raw.bindMemory(to: SLayerBSInfo.self).prefix(Int(info.iLayerNum)) {
                var offset = 0
                for unit in 0..<Int(layer.iNalCount) {
                    let length = Int(layer.pNalLengthInByte[unit])
                    let bytes = UnsafeBufferPointer(start: layer.pBsBuf + offset, count: length)
                    offset += length
                    take(bytes, into: &result)
                }
            }
        }
        guard !result.units.isEmpty else { throw .codec("libopenh264", reason: "it dropped a frame") }
        return result
    }

    /// Cuts the start code off a NAL unit and sorts it by its type.
    private func take(_ bytes: UnsafeBufferPointer<UInt8>, into picture: inout Picture) {
        let zeros = bytes.prefix { $0 == 0 }.count
        let unit = Array(bytes.dropFirst(zeros + 1))
        switch unit.first.map({ $0 & 0x1F }) {
        case 7: sequenceParameters = unit
        case 8: pictureParameters = unit
        case nil: break
        default: picture.units.append(unit)
        }
    }
}
