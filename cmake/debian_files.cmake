# Runs between installing into CPack's folders, one for each part, and packing: adds what only Debian has.
find_program(GZIP gzip REQUIRED)
find_program(STRIP strip REQUIRED)
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH sets it
foreach(part library development command)
  string(TOUPPER ${part} PART)
  set(package ${CPACK_DEBIAN_${PART}_PACKAGE_NAME})
  set(doc ${CPACK_TEMPORARY_DIRECTORY}/${part}/usr/share/doc/${package})
  file(WRITE ${doc}/changelog "llmlocal (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium\n
  * Built from the source of this version, whose history says the rest.\n
 -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
  configure_file(${CPACK_DEBIAN_COPYRIGHT} ${doc}/copyright COPYONLY)
  file(GLOB_RECURSE manuals ${CPACK_TEMPORARY_DIRECTORY}/${part}/usr/share/man/*.1)
  file(GLOB_RECURSE archives ${CPACK_TEMPORARY_DIRECTORY}/${part}/usr/lib/*.a)
  execute_process(COMMAND ${GZIP} -9n ${manuals} ${doc}/changelog COMMAND_ERROR_IS_FATAL ANY)
  if(archives)
    execute_process(COMMAND ${STRIP} --strip-debug --enable-deterministic-archives ${archives} COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
